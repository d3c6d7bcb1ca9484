use super::*;

fn key() -> Caller {
    Caller::for_test("0123456789abcdef")
}

fn mount(name: &str) -> Mount {
    let spec = model::ServerSpec {
        id: ServerId::fresh(),
        tenant: model::TenantId::fresh(),
        name: name.parse().unwrap(),
        title: String::new(),
        generation: model::Generation(1),
        transport: model::Transport::StreamableHttp,
        url: model::UpstreamUrl::parse("https://example.com/mcp").unwrap(),
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        disabled_tools: Vec::new(),
        trust_hints: false,
        retry_count: 0,
        retry_delay: Duration::from_secs(1),
        limits: model::ServerLimits::default(),
        binding: None,
        eras: model::Eras::default(),
    };
    let policy = egress::Policy { dev: false, own: Vec::new(), rules: Vec::new(), revision: 1 };
    Mount::new(spec, &egress::Egress::new(policy).unwrap(), &model::Limits::default(), false, None).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_changes_is_one_notification_for_each_kind() {
    let hub = Arc::new(Hub::default());
    let notes = mount("notes");
    let mut stream = hub.listen(Uid([1; 8]), key(), Hears::All(None)).unwrap();
    for _ in 0..100 {
        hub.lists_changed(Hub::bit(ListKind::Tools), &notes, None);
    }
    hub.lists_changed(Hub::bit(ListKind::Resources) | Hub::bit(ListKind::Templates), &notes, None);
    let first = stream.events.recv().await.unwrap();
    let second = stream.events.recv().await.unwrap();
    assert!(first.windows(5).any(|part| part == b"tools"));
    assert!(second.windows(9).any(|part| part == b"resources"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(stream.events.try_recv().is_err());
    assert_eq!(hub.epoch(), 101);
}

#[tokio::test]
async fn the_slowest_reader_says_how_full_the_hub_is() {
    let hub = Arc::new(Hub::default());
    let notes = mount("notes");
    assert_eq!(hub.fill(), (0, BACKLOG));
    let mut quick = hub.listen(Uid([1; 8]), key(), Hears::All(None)).unwrap();
    let _slow = hub.listen(Uid([2; 8]), key(), Hears::All(None)).unwrap();
    for _ in 0..3 {
        hub.tell(key().subject(), &notes, None, &Bytes::from_static(b"event"));
        quick.events.recv().await.unwrap();
    }
    assert_eq!(hub.fill(), (3, BACKLOG));
}

#[tokio::test(start_paused = true)]
async fn a_stream_hears_of_its_own_servers_only() {
    let hub = Arc::new(Hub::default());
    let (notes, other) = (mount("notes"), mount("other"));
    let hears = [
        (Hears::All(None), true),
        (Hears::All(Some(Arc::from(["notes".into()]))), true),
        (Hears::All(Some(Arc::from(["else".into()]))), false),
        (Hears::Server(notes.spec.id), true),
        (Hears::Server(other.spec.id), false),
        (Hears::Nothing, false),
    ];
    let mut streams = Vec::new();
    for (at, (hears, told)) in hears.into_iter().enumerate() {
        streams.push((hub.listen(Uid([at as u8; 8]), key(), hears.clone()).unwrap(), hears, told));
    }
    hub.lists_changed(Hub::bit(ListKind::Tools), &notes, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (stream, hears, told) in &mut streams {
        assert_eq!(stream.events.try_recv().is_ok(), *told, "{hears:?}");
    }
}

#[tokio::test]
async fn a_session_has_one_stream_and_another_after_it_closed() {
    let hub = Arc::new(Hub::default());
    let first = hub.listen(Uid([1; 8]), key(), Hears::All(None));
    assert!(first.is_some());
    assert!(hub.listen(Uid([1; 8]), key(), Hears::All(None)).is_none());
    drop(first);
    assert!(!hub.is_open(Uid([1; 8])));
    assert!(hub.listen(Uid([1; 8]), key(), Hears::All(None)).is_some());
}

#[tokio::test]
async fn the_stream_of_a_server_that_is_gone_ends() {
    let hub = Arc::new(Hub::default());
    let mut stream = hub.listen(Uid([1; 8]), key(), Hears::Server(ServerId::fresh())).unwrap();
    hub.end_streams_of_absent(|_| false);
    assert!(stream.events.recv().await.is_none());
}
