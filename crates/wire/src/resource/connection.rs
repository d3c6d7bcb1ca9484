//! Connections and how servers are bound to them, there and back.

use model::{Binding, ConnectionId, ConnectionSpec, ConnectionStatus, ContextUse, Holder, Scope};

use crate::Malformed;
use crate::fields::parsed;
use crate::generated;

impl From<&Binding> for generated::Binding {
    fn from(binding: &Binding) -> Self {
        let ContextUse { user, department, login } = binding.context;
        Self {
            scopes: binding.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            context_user: user,
            context_department: department,
            context_login: login,
            login: binding.login,
            exchange: binding.exchange,
            shared_manifest: binding.shared_manifest,
            retry_unauthorized: binding.retry_unauthorized,
        }
    }
}

pub(super) fn binding(body: generated::Binding) -> Result<Binding, Malformed> {
    let scopes = body.scopes.iter().map(|word| scope("binding.scopes", word));
    Ok(Binding {
        scopes: scopes.collect::<Result<_, _>>()?,
        context: ContextUse { user: body.context_user, department: body.context_department, login: body.context_login },
        login: body.login,
        exchange: body.exchange,
        shared_manifest: body.shared_manifest,
        retry_unauthorized: body.retry_unauthorized,
    })
}

impl From<&ConnectionSpec> for generated::Connection {
    fn from(connection: &ConnectionSpec) -> Self {
        Self {
            tenant: connection.tenant.to_string(),
            server: connection.server.to_string(),
            scope: connection.holder.scope().as_str().to_owned(),
            holder: match connection.holder {
                Holder::Global => String::new(),
                Holder::Department(id) => id.to_string(),
                Holder::User(id) => id.to_string(),
            },
            department: connection.department.clone(),
            status: connection.status.as_str().to_owned(),
            credential_version: connection.credential_version,
            token_generation: connection.token_generation,
        }
    }
}

pub(super) fn connection(id: ConnectionId, body: generated::Connection) -> Result<ConnectionSpec, Malformed> {
    let holder = match scope("connection.scope", &body.scope)? {
        Scope::Global => Holder::Global,
        Scope::Department => Holder::Department(parsed("connection.holder", &body.holder)?),
        Scope::User => Holder::User(parsed("connection.holder", &body.holder)?),
    };
    let status = ConnectionStatus::parse(&body.status);
    Ok(ConnectionSpec {
        id,
        tenant: parsed("connection.tenant", &body.tenant)?,
        server: parsed("connection.server", &body.server)?,
        holder,
        department: body.department,
        status: status.ok_or_else(|| Malformed::new("connection.status", "no such status"))?,
        credential_version: body.credential_version,
        token_generation: body.token_generation,
    })
}

fn scope(field: &'static str, word: &str) -> Result<Scope, Malformed> {
    Scope::parse(word).ok_or_else(|| Malformed::new(field, "no such scope"))
}

#[cfg(test)]
pub(super) mod tests {
    use model::{DepartmentId, Resource, ServerId, TenantId, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    pub(crate) fn binding() -> impl Strategy<Value = Option<Binding>> {
        let scopes = prop::sample::subsequence(Scope::ALL.to_vec(), 0..=3).prop_shuffle();
        prop::option::of((scopes, any::<[bool; 7]>()).prop_map(|(scopes, flags)| Binding {
            scopes,
            context: ContextUse { user: flags[0], department: flags[1], login: flags[2] },
            login: flags[3],
            exchange: flags[4],
            shared_manifest: flags[5],
            retry_unauthorized: flags[6],
        }))
    }

    pub(crate) fn connection() -> impl Strategy<Value = Resource> {
        let id = || any::<u128>().prop_map(Uuid::from_u128);
        let holders = prop_oneof![
            Just(Holder::Global),
            id().prop_map(|id| Holder::Department(DepartmentId(id))),
            id().prop_map(|id| Holder::User(UserId(id)))
        ];
        let statuses = prop::sample::select(ConnectionStatus::ALL.to_vec());
        let rest = (prop::option::of(".{0,12}"), statuses, any::<(i64, i64)>());
        (id(), id(), id(), holders, rest).prop_map(|(id, tenant, server, holder, (department, status, counters))| {
            Resource::Connection(ConnectionSpec {
                id: ConnectionId(id),
                tenant: TenantId(tenant),
                server: ServerId(server),
                holder,
                department,
                status,
                credential_version: counters.0,
                token_generation: counters.1,
            })
        })
    }
}
