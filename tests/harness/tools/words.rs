//! What made tools are made of: kinds of business systems, what they keep, and what is done with it.

use std::sync::OnceLock;

/// A kind of system.
pub(super) struct Domain {
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    /// Where its things are, as a sentence says it.
    pub(super) place: &'static str,
    pub(super) nouns: Vec<Noun>,
}

/// Something that a system keeps.
pub(super) struct Noun {
    /// One of it.
    pub(super) one: &'static str,
    pub(super) fields: Vec<&'static str>,
}

/// Something that is done with a thing.
pub(super) struct Action {
    pub(super) verb: &'static str,
    /// Sentences with holes.
    pub(super) descriptions: &'static [&'static str],
    /// Names, types and descriptions, with holes.
    pub(super) parameters: &'static [(&'static str, &'static str, &'static str)],
    /// Whether the fields of the thing are parameters too.
    pub(super) writes: bool,
}

/// All kinds of systems.
pub(super) fn domains() -> &'static [Domain] {
    static DOMAINS: OnceLock<Vec<Domain>> = OnceLock::new();
    DOMAINS.get_or_init(|| {
        let mut domains: Vec<Domain> = Vec::new();
        for line in SYSTEMS.lines().filter(|line| !line.is_empty()) {
            if let [slug, title, place] = line.split(" | ").collect::<Vec<_>>()[..] {
                domains.push(Domain { slug, title, place, nouns: Vec::new() });
                continue;
            }
            for noun in line.split(';').map(str::trim).filter(|noun| !noun.is_empty()) {
                let (one, fields) = noun.split_once(": ").unwrap();
                domains.last_mut().unwrap().nouns.push(Noun { one, fields: fields.split(", ").collect() });
            }
        }
        domains
    })
}

pub(super) const MAKERS: &[&str] = &[
    "Acme", "Borealis", "Calder", "Dunmore", "Everly", "Fenwick", "Granite", "Halden", "Ibis", "Juniper", "Kestrel",
    "Larkspur", "Meridian", "Norwood", "Orchard", "Pallas", "Quarry", "Redwood", "Saffron", "Tamarind", "Umber",
    "Verity", "Willow",
];

pub(super) const REMARKS: &[&str] = &[
    "Use this when the user asks for it by name.",
    "Requires write access.",
    "Results are paginated.",
    "Rate limited to 60 requests per minute.",
    "Returns JSON.",
    "Returns an error if it does not exist.",
    "Times are in UTC.",
    "Only works for members of the workspace.",
    "Prefer the search tool if you do not know the id.",
    "The change is recorded in the audit log.",
];

pub(super) const ACTIONS: &[Action] = &[
    Action {
        verb: "list",
        descriptions: &[
            "Lists {many} {where}, newest first.",
            "Returns a page of {many}, optionally filtered by {first}.",
            "List all {many} {where} with their {first} and {second}.",
        ],
        parameters: &[
            ("filter", "string", "Only {many} that match this expression"),
            ("limit", "integer", "How many {many} to return at most"),
            ("cursor", "string", "Where the page before ended"),
        ],
        writes: false,
    },
    Action {
        verb: "get",
        descriptions: &[
            "Gets one {one} by its id.",
            "Retrieves the details of a {one}, {first} and {second} included.",
            "Returns a single {one} {where}.",
        ],
        parameters: &[("{one}_id", "string", "The id of the {one}")],
        writes: false,
    },
    Action {
        verb: "create",
        descriptions: &[
            "Creates a {one} {where}.",
            "Create a new {one} with {first} and {second}.",
            "Adds a {one}; {first} is required.",
        ],
        parameters: &[],
        writes: true,
    },
    Action {
        verb: "update",
        descriptions: &[
            "Updates a {one}: only the given fields change.",
            "Changes {first} or {second} of a {one} {where}.",
            "Update an existing {one}.",
        ],
        parameters: &[("{one}_id", "string", "The id of the {one}")],
        writes: true,
    },
    Action {
        verb: "delete",
        descriptions: &[
            "Deletes a {one} for good.",
            "Removes a {one} {where}. This cannot be undone.",
            "Delete the {one} with the given id.",
        ],
        parameters: &[("{one}_id", "string", "The id of the {one}"), ("confirm", "boolean", "Must be true")],
        writes: false,
    },
    Action {
        verb: "search",
        descriptions: &[
            "Searches {many} by text.",
            "Full-text search over {many} {where}, ranked by relevance.",
            "Find {many} whose {first} or {second} matches a query.",
        ],
        parameters: &[
            ("query", "string", "What to look for in {many}"),
            ("limit", "integer", "How many to return at most"),
        ],
        writes: false,
    },
    Action {
        verb: "archive",
        descriptions: &[
            "Archives a {one}; it can be restored later.",
            "Moves a {one} to the archive and hides it from lists.",
        ],
        parameters: &[("{one}_id", "string", "The id of the {one}")],
        writes: false,
    },
    Action {
        verb: "export",
        descriptions: &["Exports {many} as CSV or JSON and returns a link.", "Download all {many} {where} as a file."],
        parameters: &[
            ("format", "string", "csv or json"),
            ("from", "string", "First day that counts"),
            ("to", "string", "Last day that counts"),
        ],
        writes: false,
    },
    Action {
        verb: "import",
        descriptions: &[
            "Imports {many} from a CSV file.",
            "Bulk upload of {many}; rows that fail are reported one by one.",
        ],
        parameters: &[
            ("file_url", "string", "Where the file with the {many} is"),
            ("dry_run", "boolean", "Check only, import nothing"),
        ],
        writes: false,
    },
    Action {
        verb: "assign",
        descriptions: &["Assigns a {one} to a person or team.", "Changes who is responsible for a {one} {where}."],
        parameters: &[("{one}_id", "string", "The id of the {one}"), ("assignee", "string", "Who gets it")],
        writes: false,
    },
    Action {
        verb: "duplicate",
        descriptions: &[
            "Makes a copy of a {one} with a new name.",
            "Duplicates a {one} with all its {first} and {second}.",
        ],
        parameters: &[("{one}_id", "string", "The id of the {one}"), ("new_name", "string", "What the copy is called")],
        writes: false,
    },
    Action {
        verb: "share",
        descriptions: &["Shares a {one} with other people.", "Gives somebody access to a {one} {where}."],
        parameters: &[
            ("{one}_id", "string", "The id of the {one}"),
            ("email", "string", "With whom"),
            ("permission", "string", "view or edit"),
        ],
        writes: false,
    },
    Action {
        verb: "approve",
        descriptions: &["Approves a {one} that waits for a decision.", "Approve or reject a {one} with a comment."],
        parameters: &[("{one}_id", "string", "The id of the {one}"), ("comment", "string", "Why")],
        writes: false,
    },
    Action {
        verb: "watch",
        descriptions: &[
            "Sends a notification when a {one} changes.",
            "Subscribes to changes of a {one}; each change calls the webhook.",
        ],
        parameters: &[
            ("{one}_id", "string", "The id of the {one}"),
            ("webhook_url", "string", "Where changes are sent"),
        ],
        writes: false,
    },
    Action {
        verb: "summarize",
        descriptions: &[
            "Counts {many} by {first} over a period.",
            "Statistics of {many} {where}: totals and trend by {first}.",
        ],
        parameters: &[
            ("group_by", "string", "The field to group {many} by"),
            ("from", "string", "Begin of the period"),
            ("to", "string", "End of the period"),
        ],
        writes: false,
    },
    Action {
        verb: "tag",
        descriptions: &["Adds labels to a {one}.", "Sets the tags of a {one} {where}."],
        parameters: &[("{one}_id", "string", "The id of the {one}"), ("tags", "array", "The tags")],
        writes: false,
    },
    Action {
        verb: "schedule",
        descriptions: &[
            "Schedules a {one} for a later time.",
            "Plans when a {one} starts {where}, once or again and again.",
        ],
        parameters: &[
            ("{one}_id", "string", "The id of the {one}"),
            ("at", "string", "When, as RFC 3339"),
            ("timezone", "string", "The timezone of the time"),
        ],
        writes: false,
    },
    Action {
        verb: "restore",
        descriptions: &[
            "Restores a {one} from the archive.",
            "Brings back a {one} that was deleted within the last 30 days.",
        ],
        parameters: &[("{one}_id", "string", "The id of the {one}")],
        writes: false,
    },
];

/// Slug, title and place of each kind; below them what it keeps, with the fields.
const SYSTEMS: &str = "
crm | CRM | in the CRM
  contact: full_name, email, phone, company; lead: source, score, owner; opportunity: amount, stage, close_date;
  account: industry, owner, region; campaign: budget, start_date, channel; pipeline: stages, currency
billing | Billing | in billing
  invoice: due_date, amount, currency; subscription: plan, renewal_date, quantity;
  payment: method, amount, status; refund: reason, amount; coupon: percentage, expiry;
  tax rate: country, percentage; customer: email, address
hr | People | in the personnel system
  employee: name, department, manager; leave request: start_date, end_date, reason; timesheet: week, hours;
  payslip: month, gross; position: title, salary_band; onboarding task: assignee, due_date
helpdesk | Helpdesk | in the helpdesk
  ticket: subject, priority, requester; queue: team, order; macro: actions, title;
  service level: response_time, priority; satisfaction rating: score, comment; support agent: group, email
projects | Projects | on the project board
  issue: summary, assignee, labels; sprint: goal, start_date, end_date; epic: summary, colour;
  board: columns, owner; milestone: due_date, title; work log: minutes, comment
wiki | Wiki | in the wiki
  page: title, body, parent; space: key, description; comment: text, author; attachment: file_name, media_type;
  page template: title, body; revision: author, message
chat | Chat | in the team chat
  channel: topic, purpose; message: text, thread; thread: channel, participants; emoji reaction: emoji, message;
  member: role, status; incoming webhook: channel, url
calendar | Calendar | in the calendar
  event: title, start, end, location; calendar: colour, timezone; invitee: email, response;
  meeting room: capacity, floor; reminder: minutes_before, method; availability slot: start, end, timezone
mail | Mail | in the mailbox
  message: to, subject, body; draft: to, subject, body; label: colour, name; mail filter: criteria, action;
  mailing list: address, members; signature: html, default
storage | Files | in the file store
  file: path, media_type, size; folder: path, owner; share link: expiry, password; file version: modified, author;
  quota: limit, used; bucket: region, policy
builds | Builds | in the build system
  build: branch, commit, status; pipeline: trigger, steps; job: runner, duration; artifact: path, size;
  runner: labels, platform; test report: passed, failed; workflow: file, schedule
monitoring | Monitoring | in monitoring
  alert: severity, condition, channel; dashboard: title, widgets; metric: unit, labels;
  incident: summary, severity, commander; silence: matcher, until; log query: expression, range
cloud | Cloud | in the cloud account
  instance: image, machine_type, zone; volume: size, type; snapshot: source, retention; network: range, region;
  load balancer: protocol, targets; firewall rule: direction, ports; container cluster: version, node_count
edge | Edge | at the edge network
  dns record: type, value, ttl; zone: domain, plan; certificate: domains, expiry; cache rule: path, ttl;
  redirect: from, to, status; access rule: country, action
lakehouse | Lakehouse | in the warehouse
  table: columns, partitioning; saved query: sql, owner; dataset: location, description; view: sql, materialized;
  data export: format, destination; column mask: expression, role
sql | SQL Console | in the database server
  database: encoding, owner; index: columns, method; migration: version, statement; connection: host, user;
  query plan: statement, cost; stored procedure: language, body; collection: validator, size
logistics | Logistics | in logistics
  shipment: weight, destination, carrier; delivery route: stops, vehicle; depot: address, capacity;
  carrier: service_level, price; delivery slot: date, window; tracking event: status, location, time
shop | Shop | in the shop
  order: items, total, shipping_address; product: title, price, stock; cart: items, customer;
  inventory level: location, quantity; discount: code, percentage; product review: rating, text
analytics | Analytics | in web analytics
  report: metrics, dimensions, range; funnel: steps, window; segment: conditions, name;
  tracked event: category, action; goal: target, value; visitor: country, device
identity | Identity | in the directory
  user: email, status, manager; group: description, members; role: permissions, scope; api key: expiry, scopes;
  session: device, address; audit entry: actor, action, time
legal | Legal | in the contract archive
  contract: counterparty, value, end_date; clause: text, category; signature request: signers, deadline;
  matter: client, jurisdiction; amendment: contract, text
travel | Travel | in travel bookings
  booking: traveller, dates, cost_centre; flight: origin, destination, date;
  hotel stay: city, check_in, check_out; itinerary: legs, traveller; expense: amount, category, receipt;
  rail ticket: origin, destination, class
marketing | Marketing | in marketing
  newsletter: subject, audience, send_time; audience: conditions, size; landing page: url, headline;
  form: fields, redirect; split test: variants, metric; keyword bid: keyword, amount
social | Social | in social media
  post: text, media, schedule; comment: text, author; follower: handle, since; mention: network, sentiment;
  publishing schedule: days, times; hashtag: name, reach
design | Design | in the design tool
  frame: width, height; component: variants, description; design comment: text, position;
  asset export: format, scale; colour style: value, name; prototype link: from, to
flags | Feature Flags | in feature management
  feature flag: key, rollout, default; user segment: rules, key; environment: key, colour;
  experiment: hypothesis, metric; flag trigger: event, action
translation | Translation | in translation
  string: key, text, context; locale: code, plural_rules; glossary term: term, translation;
  translation job: languages, deadline; translation memory: pairs, domain
surveys | Surveys | in surveys
  survey: title, language; survey question: text, options; response: answers, submitted; panel: size, criteria;
  quota group: field, limit
workplace | Workplace | in the building
  meeting room: floor, equipment; desk: zone, equipment; visitor: host, arrival;
  access badge: holder, valid_until; parking space: level, plate; maintenance request: place, description
devices | Devices | in the device fleet
  device: model, firmware, location; sensor reading: unit, value, time; firmware image: version, checksum;
  device command: payload, timeout; device twin: desired, reported
fleet | Fleet | in the vehicle fleet
  vehicle: plate, model, mileage; driver: licence, phone; trip: start, end, distance; geofence: shape, name;
  fuel card: limit, holder; service interval: distance, months
learning | Learning | in the academy
  course: title, language, duration; lesson: title, video; enrolment: learner, course; quiz: questions, pass_mark;
  learning certificate: learner, issued; instructor: bio, email
recruiting | Recruiting | in recruiting
  candidate: name, email, resume; vacancy: title, location; interview: time, panel; job offer: salary, start_date;
  scorecard: criteria, rating; talent pool: tags, owner
accounting | Accounting | in the ledger
  journal entry: debit, credit, memo; ledger: currency, period; cost centre: manager, budget;
  budget: amount, period; bank transaction: amount, counterparty, date; exchange rate: from, to, date
procurement | Procurement | in procurement
  purchase order: supplier, items, total; supplier: address, rating; quote: price, valid_until;
  goods receipt: quantity, date; catalogue item: price, unit; approval rule: threshold, approver
answers | Answers | in the help centre
  article: title, body, category; category: title, parent; article feedback: vote, comment;
  search synonym: terms, locale; answer bot: greeting, language
forge | Forge | in the source forge
  repository: visibility, default_branch; branch: name, commit; merge proposal: title, source, target;
  code review: verdict, body; release tag: name, notes; protected branch: pattern, rules;
  issue: title, body, labels
webtest | Web Tests | in the test browser
  browser session: device, url; screenshot: page, format; test script: language, code; viewport: width, height;
  page element: selector, text; network log: page, filter
secrets | Secrets | in the secret store
  secret: path, value; lease: ttl, holder; policy: rules, name; encryption key: algorithm, rotation;
  audit device: type, path; access token: ttl, policies
research | Research | in the library
  paper: title, authors, year; citation: paper, style; author profile: name, affiliation;
  reading list: title, papers; annotation: page, text; web page archive: url, date
notes | Notes | in the notebook
  note: title, text, tags; notebook: title, colour; note block: type, text; tag: name, colour;
  web clipping: url, title; knowledge link: from, to; reminder: time, note
";
