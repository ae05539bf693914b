use std::path::PathBuf;

use super::*;

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/mmdb/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn networks_csv(dir: &tempfile::TempDir, text: &str) -> String {
    let path = dir.path().join("networks.csv");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn enricher(networks: Vec<String>) -> Enricher {
    Enricher::new(&Enrich { networks, ..Enrich::default() }).unwrap()
}

const TABLE: &str = "network,country,asn,as_name,class\n\
    198.18.0.0/15,DE,64500,\"Example, Net\",hosting\n\
    198.18.7.0/24,FR,AS64501,Exit,tor\n\
    2001:db8::/32,NL,64502,Six,\n";

#[test]
fn without_tables_an_address_has_a_country_a_network_and_a_class() {
    let known = enricher(Vec::new());
    let place = known.lookup("8.8.8.8");
    assert_eq!((place.network.as_str(), place.country.as_str(), place.class.as_str()), ("8.8.8.0/24", "US", "public"));
    assert_eq!(known.lookup("2a00:1450:4001:80b::200e").network, "2a00:1450:4001::/48");
    for (address, class) in [
        ("Salesforce.com IP", "internal"),
        ("secretsmanager.amazonaws.com", "internal"),
        ("", "blank"),
        ("10.1.2.3", "private"),
        ("fd00::1", "private"),
        ("100.64.0.1", "private"),
        ("localhost", "unknown"),
        ("999.9.9.9", "unknown"),
    ] {
        assert_eq!(known.lookup(address).class, class, "{address}");
    }
    assert_eq!(known.lookup("not an address").network, "");
}

#[test]
fn the_longest_prefix_of_a_table_answers() {
    let dir = tempfile::tempdir().unwrap();
    let known = enricher(vec![networks_csv(&dir, TABLE)]);
    let wide = known.lookup("198.19.200.1");
    assert_eq!(
        (wide.network.as_str(), wide.country.as_str(), wide.asn.as_str(), wide.class.as_str()),
        ("198.18.0.0/15", "DE", "AS64500 Example, Net", "hosting")
    );
    let narrow = known.lookup("198.18.7.9");
    assert_eq!(
        (narrow.network.as_str(), narrow.country.as_str(), narrow.class.as_str()),
        ("198.18.7.0/24", "FR", "tor")
    );
    let six = known.lookup("2001:db8:1::5");
    assert_eq!((six.network.as_str(), six.country.as_str(), six.class.as_str()), ("2001:db8::/32", "NL", "public"));
    assert_eq!(known.lookup("::ffff:198.18.7.9"), narrow, "IPv4-mapped is IPv4");
}

#[test]
fn classes_have_a_fixed_precedence() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Enrich {
        networks: vec![networks_csv(&dir, TABLE)],
        corporate_ranges: vec!["198.18.7.0/28".to_owned()],
        vpn_asns: vec![64500],
        tor_asns: vec![64502],
        ..Enrich::default()
    };
    let known = Enricher::new(&settings).unwrap();
    for (address, class) in
        [("198.18.7.3", "corporate"), ("198.18.7.200", "tor"), ("198.18.0.1", "vpn"), ("2001:db8::1", "tor")]
    {
        assert_eq!(known.lookup(address).class, class, "{address}");
    }
}

#[test]
fn databases_are_combined() {
    let known = enricher(vec![fixture("GeoIP2-City-Test.mmdb"), fixture("GeoLite2-ASN-Test.mmdb")]);
    // From MaxMind's test-data sources (GeoIP2-City-Test.json, GeoLite2-ASN-Test.json).
    let place = known.lookup("89.160.20.128");
    assert_eq!((place.country.as_str(), place.city.as_str()), ("SE", "Linköping"));
    assert_eq!(place.asn, "AS29518 Bredband2 AB");
    let country = enricher(vec![fixture("GeoLite2-Country-Test.mmdb")]);
    assert_eq!(country.lookup("89.160.20.128").country, "SE");
}

#[test]
fn damaged_databases_are_configuration_errors_or_harmless() {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in ["libmaxminddb", "maxminddb-golang", "maxminddb-python"] {
        for entry in std::fs::read_dir(fixture(&format!("bad-data/{folder}"))).unwrap() {
            files.push(entry.unwrap().path());
        }
    }
    assert_eq!(files.len(), 21);
    let mut refused = 0;
    for file in files {
        let settings = Enrich { networks: vec![file.to_string_lossy().into_owned()], ..Enrich::default() };
        match Enricher::new(&settings) {
            Err(e) => {
                assert_eq!(e.kind(), Kind::Config, "{}", file.display());
                refused += 1;
            }
            Ok(known) => {
                for address in ["1.1.1.1", "255.255.255.255", "0.0.0.0", "2001:db8::1", "::1"] {
                    known.lookup(address);
                }
            }
        }
    }
    // One of them is valid by its own README (libmaxminddb-uint64-max-epoch).
    assert!(refused >= 15, "refused {refused}");
}

#[test]
fn mistakes_in_settings_are_configuration_errors() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |settings: Enrich, named: &str| {
        let error = Enricher::new(&settings).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(named), "{error} should name {named}");
    };
    let of = |networks: Vec<String>| Enrich { networks, ..Enrich::default() };
    refuse(of(vec!["/no/such/networks.csv".to_owned()]), "/no/such/networks.csv");
    refuse(Enrich { corporate_ranges: vec!["10.0.0.0/33".to_owned()], ..Enrich::default() }, "10.0.0.0/33");
    for bad in [
        "",
        "prefix,country\n10.0.0.0/8,DE\n",
        "network,country\n10.0.0.0/99,DE\n",
        "network,country\n10.0.0.0/8\n",
        "network,asn\n10.0.0.0/8,ASX\n",
        "\u{feff}network,country\n\"10.0.0.0/8,DE\n",
    ] {
        refuse(of(vec![networks_csv(&dir, bad)]), "networks.csv");
    }
}

#[test]
fn the_digest_is_of_contents_and_lists_and_not_of_paths() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = enricher(vec![networks_csv(&a, TABLE)]);
    assert_eq!(first.digest(), enricher(vec![networks_csv(&b, TABLE)]).digest());
    assert_ne!(first.digest(), enricher(Vec::new()).digest());
    let listed = Enrich { vpn_asns: vec![64500], ..Enrich::default() };
    let other = Enrich { tor_asns: vec![64500], ..Enrich::default() };
    assert_ne!(Enricher::new(&listed).unwrap().digest(), Enricher::new(&other).unwrap().digest());
}
