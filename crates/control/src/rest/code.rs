//! Every stable code of a problem, with its status: `problems.md` is this table as a page.

use axum::http::StatusCode;

macro_rules! codes {
    ($($status:literal { $($name:ident $word:literal $title:literal, $meaning:literal;)* })*) => {
        /// What went wrong, as programs tell it apart. Each code has one status; neither changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code {
            $($(#[doc = $meaning] $name,)*)*
        }

        impl Code {
            /// All of them, by status.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// The word in `code`.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $($(Self::$name => $word,)*)* }
            }

            /// The status of an answer with this code.
            pub(crate) fn status(self) -> StatusCode {
                let number: u16 = match self { $($(Self::$name => $status,)*)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The word or two in `title`.
            pub(crate) fn title(self) -> &'static str {
                match self { $($(Self::$name => $title,)*)* }
            }

            /// One sentence for the reader of `problems.md`.
            #[cfg(test)]
            pub(crate) fn meaning(self) -> &'static str {
                match self { $($(Self::$name => $meaning,)*)* }
            }
        }
    };
}

codes! {
    400 {
        InvalidJson "invalid_json" "Invalid JSON", "The body is not JSON; `offset` says at which byte.";
        DuplicateKey "duplicate_key" "Invalid JSON", "A member stands twice in one object.";
        TooDeep "too_deep" "Invalid JSON", "The body is nested deeper than 64 levels.";
        TruncatedBody "truncated_body" "Truncated body", "The body did not arrive whole.";
        TenantInQuery "tenant_in_query" "Invalid query", "The tenant comes from the key or from the header `Gatehouse-Tenant`, never from the query.";
        UnknownParameter "unknown_parameter" "Invalid query", "The route has no such query parameter.";
        DuplicateParameter "duplicate_parameter" "Invalid query", "A query parameter stands twice.";
        Flag "flag" "Invalid query", "The query parameter must be true or false.";
        Instant "instant" "Invalid query", "The query parameter must be an RFC 3339 instant.";
        Health "health" "Invalid query", "The query parameter must be all, active, attention or disabled.";
        Cursor "cursor" "Invalid cursor", "Not a cursor of this list of this tenant: begin again without one.";
        CredentialField "credential_field" "No such field", "A server's credentials have the fields `api_key` and `token`.";
        IdempotencyKey "idempotency_key" "Bad Idempotency-Key", "The header must hold 1 to 255 printable ASCII characters.";
        LoginNotSupported "login_not_supported" "Login not supported", "People don't sign in at this server: its auth type is not `authorization_code`.";
        ConnectionRequired "connection_required" "Connection required", "There is no usable credential for this; `scopes` says for whom one is accepted, `login_url` where to log in.";
    }
    401 {
        Unauthenticated "unauthenticated" "Unauthenticated", "No key, an unknown one, or one that is revoked, expired, or of a user or tenant that is not active.";
        MalformedKey "malformed_key" "Malformed key", "The key is cut or mistyped; nothing was looked up.";
    }
    403 {
        Forbidden "forbidden" "Forbidden", "The key is good and its role too low; `needs` names the role.";
        InsufficientScope "insufficient_scope" "Insufficient scope", "The key is good and not for this; `needs` names the scope.";
        ForgedRequest "forged_request" "Forged request", "A change that comes with the cookie of a session needs its CSRF token in `Gatehouse-CSRF` and must come from a page of this origin.";
        HostNotAllowed "host_not_allowed" "Foreign host", "`Host` or `Origin` is not a name of this service.";
        QuotaServers "quota_servers" "Too many servers", "The tenant has as many servers as it may have: `limit`.";
        QuotaKeys "quota_keys" "Too many keys", "The tenant has as many live keys as it may have: `limit`.";
        Quota "quota" "Too many records", "The tenant has as many records of this kind as it may have: `limit`.";
    }
    404 {
        NotFound "not_found" "Not found", "No such object in this tenant, whether or not another tenant has one.";
        NoRoute "no_route" "Not found", "No such path.";
    }
    405 {
        MethodNotAllowed "method_not_allowed" "Method not allowed", "The path exists for the methods in `Allow`.";
    }
    408 {
        BodyTooSlow "body_too_slow" "Body too slow", "The body must arrive within 30 s.";
    }
    409 {
        IdempotencyRunning "idempotency_running" "Still running", "The first request with this `Idempotency-Key` is still running; ask again after `Retry-After`.";
        NameTaken "name_taken" "Taken", "Another live object has this name, login or external id; `field` says which.";
        TitleTaken "title_taken" "Taken", "Another live server has this title.";
        LastPlatformAdmin "last_platform_admin" "Last platform admin", "Without it nobody could administer the platform, now or within a day; make another one first.";
        LocalAccountsOff "local_accounts_off" "No local accounts", "Users of this tenant have no passwords here: they sign in at its identity provider.";
        ServerLive "server_live" "Server is live", "Only a deleted server can be purged.";
        Referenced "referenced" "Referenced", "Other records name it; `dependencies` lists them.";
        CredentialUnreadable "credential_unreadable" "Credential unreadable", "The credential can't be opened with the keys of this installation; it was left as it is. Give it again to replace it.";
        ChainFull "chain_full" "Already rotated", "The key and the one that it replaces, or that replaces it, live already: two of a chain live at most.";
        KeyEnded "key_ended" "Key ended", "The key is revoked or has expired.";
        ConnectionExists "connection_exists" "Connection exists", "There is one for this server and holder: `connection`.";
        StatusTransition "status_transition" "Status", "People put an active connection aside and take it up again; out of reauth_required and invalid leads a login, a new credential or a good test.";
    }
    412 {
        Stale "stale" "Stale", "The object changed since it was read; `current_generation` says where it is.";
    }
    413 {
        BodyTooLarge "body_too_large" "Body too large", "A body may have 256 KiB.";
    }
    415 {
        ContentType "content_type" "Unsupported media type", "Send `Content-Type: application/json`.";
    }
    422 {
        Type "type" "Invalid fields", "The value has another JSON type than the field.";
        Required "required" "Invalid fields", "The field must be there and must not be empty.";
        UnknownField "unknown_field" "Invalid fields", "The route has no such field.";
        ImmutableField "immutable_field" "Invalid fields", "The field can't be changed.";
        NotClearable "not_clearable" "Invalid fields", "The field can't be null.";
        TooLong "too_long" "Invalid fields", "The text is too long.";
        TooMany "too_many" "Invalid fields", "The list or object has too many entries.";
        ControlCharacter "control_character" "Invalid fields", "The text holds control characters.";
        Range "range" "Out of range", "The number is out of its range.";
        Duplicate "duplicate" "Invalid fields", "An entry stands twice.";
        Slug "slug" "Invalid fields", "Not a slug: 1 to 32 of a-z, 0-9 and -, not beginning with -; `gatehouse` is reserved.";
        Role "role" "Invalid fields", "Not a role, or one that the field can't go with.";
        Scope "scope" "Invalid fields", "Not a scope of keys: `mcp`, `rest` or `act_as`.";
        User "user" "Invalid fields", "Not a user of this tenant.";
        Server "server" "Invalid fields", "Not a server of this tenant that the key may use.";
        ToolName "tool_name" "Invalid fields", "Not a name that a tool can have in a toolset: 1 to 64 of A-Z, a-z, 0-9, _ and -, and not `gatehouse__…`; or not a tool's own name.";
        Listing "listing" "Invalid fields", "Not what a toolset can show: `tools` or `search`.";
        Algorithm "algorithm" "Invalid fields", "Not a signature that is verified here: `RS256`, `ES256` or `EdDSA`.";
        Department "department" "Invalid fields", "Not a department of this tenant.";
        ReturnUrl "return_url" "Invalid fields", "Not a place that people may be led to: a path of this service, or below one of `login_return_urls`.";
        ScopeNotAccepted "scope_not_accepted" "Scope not accepted", "The server accepts no connections of this scope.";
        ConnectionStatus "connection_status" "Invalid fields", "Not a status that a connection can be given: `active` or `disabled`.";
        ReferenceOutside "reference_outside" "Invalid fields", "The reference leads out of the tenant's part of its source, or there is no such source.";
        Tenant "tenant" "Invalid fields", "Not a tenant.";
        Expiry "expiry" "Invalid fields", "Not an instant in the future within ten years.";
        Icon "icon" "Invalid fields", "Neither a word of at most 64 characters nor an https URL.";
        Host "host" "Invalid fields", "Neither a host name nor an address nor a network.";
        Ports "ports" "Invalid fields", "Not a port nor a range of ports such as `8000-8100`.";
        Transport "transport" "Invalid fields", "Must be `streamable_http`, `sse` or `auto`.";
        AuthType "auth_type" "Invalid fields", "Not one of the words that the field knows; the detail names them.";
        ConnectionScope "connection_scope" "Invalid fields", "Not a scope of connections: `global`, `department` or `user`.";
        ManifestScope "manifest_scope" "Invalid fields", "Neither `server` nor `binding`, or `server` where lists are of one person each.";
        Template "template" "Invalid fields", "A template with an unknown placeholder, or a placeholder where none can stand.";
        ClientCertificate "client_certificate" "Invalid fields", "Not a PEM certificate with its private key.";
        CredentialReentryRequired "credential_reentry_required" "Credential must be entered again", "The secret would go elsewhere than it was given for: send it again with the change, or remove it first.";
        StdioDisabled "stdio_disabled" "Invalid fields", "stdio upstreams are not supported: run the server behind HTTP.";
        UrlInvalid "url_invalid" "Invalid fields", "Not a URL with a host.";
        UrlTooLong "url_too_long" "Invalid fields", "The URL is longer than 2048 bytes.";
        UrlScheme "url_scheme" "Invalid fields", "The scheme must be http or https.";
        UrlUserinfo "url_userinfo" "Invalid fields", "The URL must not hold a user name or password.";
        UrlFragment "url_fragment" "Invalid fields", "The URL must not hold a fragment.";
        HttpsRequired "https_required" "Invalid fields", "The URL must use https; an egress rule allows plain http.";
        HeaderNotAllowed "header_not_allowed" "Invalid fields", "The header is the gateway's own, carries a credential, or stands twice.";
        HeaderValue "header_value" "Invalid fields", "Not printable ASCII of at most 4096 characters without outer spaces.";
        MaskedValueRejected "masked_value_rejected" "Invalid fields", "The value looks masked: send the value itself, or leave the field away.";
        AddressBlocked "address_blocked" "Address blocked", "The address policy does not allow this address; `hint` is the command that would.";
        UpstreamUnreachable "upstream_unreachable" "Upstream unreachable", "The probe reached no MCP server; nothing was saved; `class` says why.";
        IssuerUnreachable "issuer_unreachable" "Issuer unreachable", "The identity provider's document or keys can't be had; nothing was saved; `class` says why.";
        IdempotencyKeyReused "idempotency_key_reused" "Idempotency-Key reused", "The same `Idempotency-Key` came with another request.";
    }
    428 {
        IfMatchRequired "if_match_required" "If-Match required", "Send `If-Match` with the `ETag` that was read, or `*`.";
    }
    500 {
        Internal "internal" "Internal error", "A fault of this service; its log has the reason under `trace_id`.";
    }
    502 {
        UpstreamFailed "upstream_failed" "Upstream failed", "A mounted upstream failed; `class` says how.";
        ProxyRefused "proxy_refused" "Proxy refused", "The proxy refused the command.";
    }
    503 {
        RecoverBusy "recover_busy" "Recover busy", "Too many passes of recover wait already.";
        NoProxyAttached "no_proxy_attached" "No proxy attached", "No proxy is attached that could do it.";
        Sealed "sealed" "Sealed", "The key that opens secrets can't be had now: its holder does not answer. Nothing was changed.";
        DatabaseUnavailable "database_unavailable" "Database unavailable", "The database can't be used now.";
    }
    504 {
        ProxyTimedOut "proxy_timed_out" "Proxy timed out", "The proxy did not answer in time.";
    }
    507 {
        StorageFull "storage_full" "Storage full", "The database has no room; nothing was changed.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    fn page() -> String {
        let mut page = String::from(
            "# Problems\n\nErrors of REST are `application/problem+json`: `type`, `title`, `status`, `code`, `detail`, \
             `trace_id` and `errors` (each\nwith `field`, `code`, `detail`). `code` is stable; texts are for people. With \
             several wrong fields `code` is that of the first.\n\n| status | code | means |\n| --- | --- | --- |\n",
        );
        for code in Code::ALL {
            let _ = writeln!(page, "| {} | `{}` | {} |", code.status().as_u16(), code.as_str(), code.meaning());
        }
        page
    }

    #[test]
    fn the_page_of_problems_holds_every_code_and_no_other() {
        let kept = include_str!("../../problems.md");
        assert_eq!(kept, page(), "write crates/control/problems.md anew:\n{}", page());
    }

    #[test]
    fn no_two_codes_share_a_word() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
    }
}
