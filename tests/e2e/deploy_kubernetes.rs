//! The Kubernetes manifests: every reference leads to something, and what they set can be used.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use tests::deploy::{Dockerfile, files, manifests, pairs, text, texts};
use tests::gatehouse::executable;

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn of_kind(kind: &str) -> Vec<Value> {
    manifests().into_iter().map(|(_, object)| object).filter(|object| object["kind"] == kind).collect()
}

/// Deployments and jobs: what makes pods.
fn workloads() -> Vec<Value> {
    [of_kind("Deployment"), of_kind("Job")].concat()
}

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

fn data(map: &str) -> BTreeMap<String, String> {
    let maps = of_kind("ConfigMap");
    pairs(&maps.iter().find(|found| name(found) == map).unwrap_or_else(|| panic!("no ConfigMap {map}"))["data"])
}

#[test]
fn every_manifest_is_applied() {
    let named: Vec<String> = manifests().into_iter().map(|(file, _)| format!("kubernetes/{file}")).collect();
    for file in files(".yaml").into_iter().filter(|file| file.starts_with("kubernetes/")) {
        assert!(named.contains(&file) || file.ends_with("/kustomization.yaml"), "{file} is not in kustomization.yaml");
    }
    for (file, object) in manifests() {
        assert!(object["apiVersion"].is_string() && object["kind"].is_string(), "{file}");
        assert!(object["metadata"]["namespace"].is_null(), "{file}: the kustomization says the namespace");
    }
    assert_eq!(workloads().len(), 3);
}

#[test]
fn secrets_are_named_and_never_held() {
    assert_eq!(of_kind("Secret"), Vec::<Value>::new());
    let readme = text("README.md");
    for workload in workloads() {
        for volume in pod(&workload)["volumes"].as_array().unwrap() {
            if let Some(secret) = volume["secret"]["secretName"].as_str() {
                assert!(
                    readme.contains(&format!("create secret generic {secret} ")),
                    "nothing says how {secret} is made"
                );
                assert_eq!(volume["secret"]["defaultMode"], 0o440, "{secret}");
            }
        }
    }
}

#[test]
fn every_pod_finds_what_it_names() {
    for workload in workloads() {
        let (pod, who) = (pod(&workload), name(&workload));
        assert_eq!(pod["automountServiceAccountToken"], false, "{who}");
        assert_eq!(pod["enableServiceLinks"], false, "{who}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{who}");
        let container = &pod["containers"][0];
        let image = container["image"].as_str().unwrap();
        let user = Dockerfile::read(&format!("Dockerfile.{}", image.trim_start_matches("gatehouse-")));
        assert_eq!(user.last("USER"), format!("{0}:{0}", pod["securityContext"]["runAsUser"]), "{who}");
        let hardened = &container["securityContext"];
        assert_eq!(hardened["readOnlyRootFilesystem"], true, "{who}");
        assert_eq!(hardened["allowPrivilegeEscalation"], false, "{who}");
        let volumes: Vec<&Value> = pod["volumes"].as_array().unwrap().iter().collect();
        let mounts = container["volumeMounts"].as_array().unwrap();
        for mount in mounts {
            assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{who}: {mount}");
        }
        assert_eq!(volumes.len(), mounts.len(), "{who}");
        for from in container["envFrom"].as_array().unwrap() {
            for (variable, value) in data(from["configMapRef"]["name"].as_str().unwrap()) {
                let mounted = mounts.iter().any(|mount| value.starts_with(mount["mountPath"].as_str().unwrap()));
                assert!(!value.starts_with('/') || mounted, "{who}: {variable}={value} is on no volume");
            }
        }
    }
}

#[test]
fn ports_and_probes_are_those_of_the_program() {
    for deployment in of_kind("Deployment") {
        let (pod, who) = (pod(&deployment), name(&deployment));
        let container = &pod["containers"][0];
        let settings = data(container["envFrom"][0]["configMapRef"]["name"].as_str().unwrap());
        let port = |port: &Value| {
            let ports = container["ports"].as_array().unwrap();
            let found =
                ports.iter().find(|found| found["name"] == *port).unwrap_or_else(|| panic!("{who}: port {port}"));
            found["containerPort"].as_u64().unwrap().to_string()
        };
        let listens: Vec<String> =
            container["ports"].as_array().unwrap().iter().map(|found| port(&found["name"])).collect();
        for listener in ["LISTEN", "LINK_LISTEN", "METRICS_LISTEN", "PEER_LISTEN"] {
            if let Some(address) = settings.get(&format!("GATEHOUSE_{listener}")) {
                assert!(listens.contains(&address.rsplit(':').next().unwrap().to_owned()), "{who}: {listener}");
            }
        }
        for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let asked = &container[probe]["httpGet"];
            assert_eq!(asked["path"], path, "{who}: {probe}");
            assert!(settings["GATEHOUSE_METRICS_LISTEN"].ends_with(&format!(":{}", port(&asked["port"]))), "{who}");
        }
        let scraped = &deployment["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(scraped["prometheus.io/path"], "/metrics");
        assert_eq!(scraped["prometheus.io/port"].as_str().unwrap(), port(&Value::from("metrics")), "{who}");
        let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace >= pause + 35, "{who} has 35 s to drain");

        for service in of_kind("Service") {
            if service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] {
                for offered in service["spec"]["ports"].as_array().unwrap() {
                    assert_eq!(port(&offered["targetPort"]), offered["port"].to_string(), "{}", name(&service));
                }
            }
        }
    }
    let link = &data("gatehouse-proxy")["GATEHOUSE_CONTROL"];
    let (service, port) = link.split_once(':').unwrap();
    let services = of_kind("Service");
    let service = services.iter().find(|found| name(found) == service).unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"].to_string(), port);
}

#[test]
fn selectors_select_and_targets_exist() {
    let labels: Vec<Value> =
        workloads().iter().map(|workload| workload["spec"]["template"]["metadata"]["labels"].clone()).collect();
    for deployment in of_kind("Deployment") {
        let template = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], *template);
        let budgets = of_kind("PodDisruptionBudget");
        assert!(budgets.iter().any(|budget| budget["spec"]["selector"]["matchLabels"] == *template));
    }
    for service in of_kind("Service") {
        assert!(labels.contains(&service["spec"]["selector"]), "{}", name(&service));
    }
    let policies = of_kind("NetworkPolicy");
    for labels in &labels {
        assert!(policies.iter().any(|policy| policy["spec"]["podSelector"]["matchLabels"] == *labels), "{labels}");
    }
    for scaler in of_kind("HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        let deployments = of_kind("Deployment");
        let scaled = deployments.iter().find(|found| name(found) == target["name"]).unwrap();
        assert!(scaled["spec"]["replicas"].is_null(), "the autoscaler says how many");
    }
}

#[test]
fn what_the_maps_say_passes_check_config() {
    let house = tempfile::tempdir().unwrap();
    let at = |path: &str| house.path().join(path);
    let run = |program: &str, arguments: &[&str], environment: &BTreeMap<String, String>| {
        let mut command = Command::new(executable(program));
        command.env_clear().envs(environment).args(arguments).current_dir(house.path()).output().unwrap()
    };
    let nothing = BTreeMap::new();
    let (plane, node) = (at("plane"), at("node"));
    let (plane, node) = (plane.to_str().unwrap(), node.to_str().unwrap());
    assert!(run("gatehouse-control", &["certificate", "authority", "--pki-dir", plane], &nothing).status.success());
    let issue = ["certificate", "issue", "--pki-dir", plane, "--pool", "default", "--out", node];
    assert!(run("gatehouse-control", &issue, &nothing).status.success());
    std::fs::write(at("plane/kek"), (0..32u8).map(|at| at.wrapping_mul(37) ^ 0x80).collect::<Vec<_>>()).unwrap();
    set_private(&at("plane/kek"));
    std::fs::create_dir(at("database")).unwrap();
    std::fs::write(at("database/url"), "postgres://gatehouse:canary@postgres:5432/gatehouse\n").unwrap();

    for (map, program, checked) in [
        ("gatehouse-control", "gatehouse-control", "public_url = \"https://gatehouse.example.com\""),
        ("gatehouse-proxy", "gatehouse-proxy", "control = \"gatehouse-link:5012\""),
    ] {
        let here = format!("{}/", house.path().display());
        let environment = data(map).into_iter().map(|(name, value)| (name, value.replace("/etc/gatehouse/", &here)));
        let mut environment: BTreeMap<String, String> = environment.collect();
        environment.extend(of_the_pod(map));
        // As if the services of the namespace were told all the same.
        environment.insert("GATEHOUSE_CONTROL_PORT_5010_TCP_ADDR".to_owned(), "10.0.0.1".to_owned());
        let output = run(program, &["check-config"], &environment);
        let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{map}: {wrong}");
        assert!(told.contains(checked) && !told.contains("canary"), "{told}");

        environment.insert("GATEHOUSE_PUBLIC_ULR".to_owned(), "https://x.example".to_owned());
        environment.insert("GATEHOUSE_LISTEN".to_owned(), "nowhere".to_owned());
        let output = run(program, &["check-config"], &environment);
        assert_eq!(output.status.code(), Some(78));
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(
            wrong.contains("`GATEHOUSE_PUBLIC_ULR`: ") && wrong.contains("`listen`: ") && !wrong.contains("canary"),
            "{wrong}"
        );
    }
}

/// What a container is given beside its map, as the cluster would fill it in.
fn of_the_pod(map: &str) -> BTreeMap<String, String> {
    let deployments = of_kind("Deployment");
    let deployment = deployments.iter().find(|found| name(found) == map).unwrap();
    let given = pod(deployment)["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let given = given.iter().filter_map(|one| Some((one["name"].as_str()?, one["value"].as_str()?)));
    given.map(|(name, value)| (name.to_owned(), value.replace("$(POD_IP)", "10.0.0.9"))).collect()
}

fn set_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn images_have_the_names_that_the_kustomization_can_change() {
    let kustomization = tests::deploy::document("kubernetes/kustomization.yaml");
    let images: Vec<&str> =
        kustomization["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    for workload in workloads() {
        let image = pod(&workload)["containers"][0]["image"].as_str().unwrap();
        assert!(images.contains(&image), "{image}");
    }
    assert!(!texts(&kustomization["resources"]).is_empty());
}
