//! What a method is called with: ids and names of one's own, of another tenant, or of nobody.

use model::{ConnectionId, DepartmentId, Generation, GrantId, IssuerId, KeyId, ServerId, SessionId, ToolsetId, UserId};
use store::{
    ConnectionPage, DepartmentPage, GrantPage, IssuerPage, KeyPage, ServerPage, SessionPage, TenantStore, ToolsetPage,
    UserPage,
};

use super::dice::Dice;

/// A tenant's own mark is in every text that it writes, so that a text of another is recognised wherever
/// it comes out.
pub(crate) fn mark(tenant: &TenantStore) -> String {
    let id = tenant.id().to_string();
    format!("m{}", id.split('-').next_back().unwrap())
}

/// What one call is given.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    pub(crate) server: ServerId,
    pub(crate) server_name: String,
    pub(crate) server_title: String,
    pub(crate) user: UserId,
    pub(crate) login: String,
    pub(crate) external_id: String,
    pub(crate) department: DepartmentId,
    pub(crate) department_name: String,
    pub(crate) key: KeyId,
    pub(crate) issuer: IssuerId,
    pub(crate) issuer_name: String,
    pub(crate) session: SessionId,
    pub(crate) grant: GrantId,
    pub(crate) connection: ConnectionId,
    pub(crate) toolset: ToolsetId,
    pub(crate) toolset_name: String,
    /// The caller's own, whatever the others are.
    pub(crate) own_user: UserId,
    /// The same.
    pub(crate) own_server: ServerId,
    /// The caller's own.
    pub(crate) mark: String,
    pub(crate) expected: Option<Generation>,
    pub(crate) coin: bool,
    pub(crate) number: u64,
}

impl Ids {
    /// Ids that nobody has, for a caller with this mark.
    pub(crate) fn unknown(mark: &str, dice: &mut Dice) -> Self {
        let number = dice.roll();
        Self {
            server: ServerId::fresh(),
            server_name: format!("nobody-{:x}", number >> 20),
            server_title: format!("Nobody {number:x}"),
            user: UserId::fresh(),
            login: format!("nobody-{number:x}"),
            external_id: format!("nobody-{number:x}"),
            department: DepartmentId::fresh(),
            department_name: format!("nobody-{:x}", number >> 20),
            key: key_of(dice.roll()),
            issuer: IssuerId::fresh(),
            issuer_name: format!("nobody-{:x}", number >> 20),
            session: SessionId::fresh(),
            grant: GrantId::fresh(),
            connection: ConnectionId::fresh(),
            toolset: ToolsetId::fresh(),
            toolset_name: format!("nobody-{:x}", number >> 20),
            own_user: UserId::fresh(),
            own_server: ServerId::fresh(),
            mark: mark.to_owned(),
            expected: [None, None, Some(Generation(1))][dice.below(3)],
            coin: dice.below(2) == 0,
            number,
        }
    }

    /// A slug that nobody has yet, with the caller's mark.
    pub(crate) fn fresh_name(&self) -> String {
        format!("s{:x}-{}", self.number & 0xffff_ffff, self.mark)
    }

    /// A text that nobody has yet, with the caller's mark.
    pub(crate) fn fresh_text(&self) -> String {
        format!("Text {:x} of {}", self.number, self.mark)
    }

    /// A key id that nobody has yet.
    pub(crate) fn fresh_key(&self) -> KeyId {
        key_of(self.number)
    }

    /// The answer without what was put in.
    pub(crate) fn hidden_in(&self, answer: &str) -> String {
        let ids = [
            self.server.to_string(),
            self.user.to_string(),
            self.department.to_string(),
            self.key.to_string(),
            self.server_name.clone(),
            self.server_title.clone(),
            self.login.clone(),
            self.external_id.clone(),
            self.issuer.to_string(),
            self.issuer_name.clone(),
            self.session.to_string(),
            self.grant.to_string(),
            self.connection.to_string(),
            self.toolset.to_string(),
            self.toolset_name.clone(),
            self.department_name.clone(),
        ];
        ids.iter().fold(answer.to_owned(), |text, id| text.replace(id, "<id>"))
    }
}

fn key_of(number: u64) -> KeyId {
    let digits: String =
        (0..16).map(|at| char::from(b"abcdefghijklmnop"[(number >> (4 * at)) as usize & 15])).collect();
    digits.parse().unwrap()
}

/// What a tenant has, live and deleted, as it sees it itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Belongings {
    servers: Vec<(ServerId, String, String)>,
    users: Vec<(UserId, String, Option<String>)>,
    departments: Vec<(DepartmentId, String)>,
    keys: Vec<KeyId>,
    issuers: Vec<(IssuerId, String)>,
    sessions: Vec<SessionId>,
    grants: Vec<GrantId>,
    connections: Vec<ConnectionId>,
    toolsets: Vec<(ToolsetId, String)>,
}

impl Belongings {
    pub(crate) async fn of(tenant: &TenantStore) -> Self {
        let mut found = Self::default();
        for deleted in [false, true] {
            let page = ServerPage { deleted, limit: 500, ..Default::default() };
            let servers = tenant.servers(page).await.unwrap().into_iter();
            found.servers.extend(servers.map(|one| (one.spec.id, one.spec.name.to_string(), one.spec.title)));
            let page = UserPage { deleted, limit: 500, ..Default::default() };
            let users = tenant.users(page).await.unwrap().into_iter();
            found.users.extend(users.map(|one| (one.id, one.login, one.external_id)));
            let page = DepartmentPage { deleted, limit: 500, ..Default::default() };
            let departments = tenant.departments(page).await.unwrap().into_iter();
            found.departments.extend(departments.map(|one| (one.id, one.name.to_string())));
        }
        let keys = tenant.keys(KeyPage { limit: 500, ..Default::default() }).await.unwrap();
        found.keys = keys.into_iter().map(|key| key.verifier.id).collect();
        let issuers = tenant.issuers(IssuerPage { limit: 500, ..Default::default() }).await.unwrap();
        found.issuers = issuers.into_iter().map(|one| (one.id, one.name.to_string())).collect();
        let sessions = tenant.sessions(SessionPage { limit: 500, ..Default::default() }).await.unwrap();
        found.sessions = sessions.into_iter().map(|one| one.id).collect();
        let grants = tenant.grants(GrantPage { limit: 500, ..Default::default() }).await.unwrap();
        found.grants = grants.into_iter().map(|one| one.id).collect();
        let connections = tenant.connections(ConnectionPage { limit: 500, ..Default::default() }).await.unwrap();
        found.connections = connections.into_iter().map(|one| one.id).collect();
        let toolsets = tenant.toolsets(ToolsetPage { limit: 500, ..Default::default() }).await.unwrap();
        found.toolsets = toolsets.into_iter().map(|one| (one.spec.id, one.spec.name.to_string())).collect();
        found
    }

    /// Ids of these belongings, as far as there are any, for a caller with `mark` and things of its own.
    pub(crate) fn some(&self, mark: &str, own: &Self, dice: &mut Dice) -> Ids {
        let mut ids = Ids::unknown(mark, dice);
        if let Some((id, name, title)) = dice.one_of(&self.servers) {
            (ids.server, ids.server_name, ids.server_title) = (*id, name.clone(), title.clone());
        }
        if let Some((id, login, external_id)) = dice.one_of(&self.users) {
            (ids.user, ids.login) = (*id, login.clone());
            ids.external_id = external_id.clone().unwrap_or(ids.external_id);
        }
        if let Some((id, name)) = dice.one_of(&self.departments) {
            (ids.department, ids.department_name) = (*id, name.clone());
        }
        if let Some(key) = dice.one_of(&self.keys) {
            ids.key = *key;
        }
        if let Some((id, name)) = dice.one_of(&self.issuers) {
            (ids.issuer, ids.issuer_name) = (*id, name.clone());
        }
        if let Some(session) = dice.one_of(&self.sessions) {
            ids.session = *session;
        }
        if let Some(grant) = dice.one_of(&self.grants) {
            ids.grant = *grant;
        }
        if let Some(connection) = dice.one_of(&self.connections) {
            ids.connection = *connection;
        }
        if let Some((id, name)) = dice.one_of(&self.toolsets) {
            (ids.toolset, ids.toolset_name) = (*id, name.clone());
        }
        if let Some((id, ..)) = dice.one_of(&own.servers) {
            ids.own_server = *id;
        }
        if let Some((id, ..)) = dice.one_of(&own.users) {
            ids.own_user = *id;
        }
        ids
    }
}
