//! The programs of an organisation: volumes, mixes and rhythms of its integrations.
//!
//! The weights are chosen so that the whole looks like a published audit of one real daily file: two users make three
//! quarters of the calls, a tenth is SOAP, describes are a daily habit, and most rows name no app.

use super::build::{Builder, EXTERNAL, Mix};
use super::calls::Call as C;
use super::world::{Role, Routine, Shape};

impl Builder {
    /// The eight large integrations, the small ones, and a forgotten script.
    pub(super) fn integrations(&mut self) {
        let (big, middle) = (self.plan.scale, self.plan.scale.powf(0.7));
        let hq = 0;
        let second = usize::from(self.world.orgs[0].offices.len() > 1);
        let plain = self.channel("", "", EXTERNAL);

        // The two that make three quarters of the volume.
        let poll = Shape::Poll { minutes: 2, swell: 0.42, spike: None };
        let sync = self.routine(
            poll,
            plain,
            62,
            19_500.0 * big,
            0.022,
            &[
                (
                    C::Query,
                    &["Lead", "Contact", "Account", "Opportunity", "Task", "User", "CampaignMember", "Event"],
                    72.0,
                ),
                (C::Describe, &["Lead", "User", "Contact", "Account"], 13.0),
                (C::Search, &["Contact", "Lead"], 5.0),
                (C::QueryMore, &["Contact", "Lead"], 5.0),
                (C::Get, &["Lead", "Contact"], 3.0),
                (C::Update, &["Contact", "Lead"], 2.0),
            ],
        );
        let mut sync = self.serve(sync, 5, 7);
        sync.internal = 0.012;
        self.integration("crm.sync", hq, vec![sync]);

        let poll = Shape::Poll { minutes: 5, swell: 0.32, spike: Some((14 * 60, 0.15)) };
        let objects = [
            "Account",
            "Opportunity",
            "Contact",
            "Case",
            "Task",
            "OpportunityLineItem",
            "Event",
            "User",
            "Campaign",
            "Product2",
            "PricebookEntry",
            "Contract",
            "Order",
            "OrderItem",
            "OpportunityHistory",
            "CaseHistory",
            "Account;Contact",
            "Asset",
            "RecordType",
            "Portfolio__c",
            "Household__c",
        ];
        let new = self.routine(
            poll,
            plain,
            50,
            11_500.0 * big,
            0.02,
            &[
                (C::Query, &objects, 70.0),
                (C::QueryMore, &objects[..6], 14.0),
                (C::QueryAll, &objects[..8], 11.0),
                (C::Describe, &objects[..12], 5.0),
            ],
        );
        let old = self.routine(
            poll,
            plain,
            35,
            6_000.0 * big,
            0.02,
            &[(C::Query, &objects[..9], 92.0), (C::QueryMore, &objects[..3], 8.0)],
        );
        let (new, old) = (self.serve(new, 3, 10), self.serve(old, 2, 30));
        self.integration("bi.warehouse", hq, vec![new, old]);

        // Middle-sized ones. SOAP rows are a tenth of the whole.
        let soap = self.channel("", "MarketPulse/4", EXTERNAL);
        let poll = Shape::Poll { minutes: 5, swell: 0.3, spike: None };
        let marketing = self.routine(
            poll,
            soap,
            52,
            3_000.0 * middle,
            0.009,
            &[
                (C::SoapGetUpdated, &["Lead", "Contact", "Account", "CampaignMember"], 40.0),
                (C::SoapQuery, &["Lead", "Contact", "Campaign", "CampaignMember"], 34.0),
                (C::SoapGetDeleted, &["Lead", "Contact"], 8.0),
                (C::SoapDescribe, &["Lead", "Contact", "Campaign"], 7.0),
                (C::SoapUpsert, &["Lead", "CampaignMember"], 6.0),
                (C::SoapTimestamp, &[], 4.0),
                (C::SoapLogin, &[], 1.0),
            ],
        );
        let marketing = self.serve(marketing, 3, 9);
        self.integration("marketing.automation", hq, vec![marketing]);

        let client = self.channel("", "NightLoader/9.2", EXTERNAL);
        let nightly = Shape::Nightly { minute: 3 * 60, minutes: 75.0 };
        let etl = self.routine(
            nightly,
            client,
            58,
            2_100.0 * middle,
            0.002,
            &[
                (C::SoapQuery, &["Account", "Contact", "Opportunity", "Case", "Order", "Contract", "Asset"], 30.0),
                (
                    C::SoapQuery,
                    &["Quote", "QuoteLineItem", "Product2", "Invoice__c", "Payment__c", "Subscription__c"],
                    10.0,
                ),
            ],
        );
        let mut etl = self.serve(etl, 1, 10_000);
        etl.wobble = 0.04;
        etl.weekly_growth = 0.021; // +0.3 % a day
        self.integration("nightly.etl", second, vec![etl]);

        let app = self.channel("Ledger Link", "", EXTERNAL);
        let billing = self.routine(
            Shape::Hourly { minute: 30, ingest: true },
            app,
            60,
            420.0 * middle,
            0.003,
            &[(C::IngestCreate, &["Invoice__c", "Payment__c"], 1.0), (C::JobCreate, &["Order", "Contract"], 1.0)],
        );
        let billing = self.serve(billing, 1, 10_000);
        self.integration("billing.batch", hq, vec![billing]);

        let app = self.channel("Helpdesk Bridge", "", EXTERNAL);
        let support = self.routine(
            Shape::Events,
            app,
            61,
            1_300.0 * middle,
            0.02,
            &[
                (C::Update, &["Case", "Contact"], 45.0),
                (C::Create, &["CaseComment", "Task", "Case"], 38.0),
                (C::Query, &["Case", "Contact"], 14.0),
                (C::Describe, &["Case"], 3.0),
            ],
        );
        let support = self.serve(support, 1, 10_000);
        self.integration("support.bridge", hq, vec![support]);

        let app = self.channel("Chatmarsh", "", EXTERNAL);
        let poll = Shape::Poll { minutes: 10, swell: 0.5, spike: None };
        let chat = self.routine(
            poll,
            app,
            58,
            500.0,
            0.01,
            &[
                (C::Query, &["Lead", "Contact", "Account"], 70.0),
                (C::Create, &["Lead", "Task"], 18.0),
                (C::Describe, &["Lead"], 12.0),
            ],
        );
        let chat = self.serve(chat, 2, 14);
        self.integration("chat.connector", hq, vec![chat]);

        let client = self.channel("", "PipelineRunner", EXTERNAL);
        let release = self.routine(
            Shape::Release,
            client,
            65,
            700.0 * middle,
            0.03,
            &[
                (C::SoapDeployStatus, &[], 55.0),
                (C::ToolingQuery, &["ApexClass", "ApexTrigger", "CustomField"], 30.0),
                (C::SoapListMetadata, &[], 10.0),
                (C::SoapDeploy, &[], 5.0),
            ],
        );
        let release = self.serve(release, 3, 3);
        self.integration("release.pipeline", second, vec![release]);

        for i in 0..self.plan.tail {
            let routine = self.tail(i);
            let name = TAIL[i as usize % TAIL.len()].to_lowercase().replace(' ', ".");
            let name = if (i as usize) < TAIL.len() { name } else { format!("{name}.{}", i as usize / TAIL.len() + 1) };
            self.integration(&name, if i % 3 == 2 { second } else { hq }, vec![routine]);
        }
        // Logins of nobody we know: an old script somewhere keeps trying.
        let stale = self.routine(Shape::Stale, plain, 29, 8.0, 1.0, &[(C::SoapLogin, &[], 1.0)]);
        let stale = self.serve(stale, 1, 10_000);
        self.user("old.script@haldenridgepartners.example".to_owned(), Role::Unknown, hq, vec![stale]);
    }

    pub(super) fn integration(&mut self, name: &str, office: usize, routines: Vec<Routine>) {
        let name = format!("{name}.integration@{}", self.domain());
        self.user(name, Role::Integration, office, routines);
    }

    /// One of the many small integrations; four kinds in turn.
    pub(super) fn tail(&mut self, i: u32) -> Routine {
        const POOL: [&str; 16] = [
            "Contact",
            "Account",
            "Opportunity",
            "Lead",
            "Case",
            "Quote",
            "Task",
            "Event",
            "Campaign",
            "Order",
            "Contract",
            "Product2",
            "Survey_Response__c",
            "Shipment__c",
            "Renewal__c",
            "Document_Request__c",
        ];
        let app = TAIL[i as usize % TAIL.len()];
        let mut objects = POOL;
        self.dice.shuffle(&mut objects);
        let objects = &objects[..3 + self.dice.below(3) as usize];
        // The first six are small; more are added only where scenarios need identities, and those are of all sizes.
        let mean = if i < 6 { 220.0 } else { [300.0, 1_400.0, 600.0, 2_400.0][i as usize % 4] };
        let daily = self.dice.lognormal(mean, 0.35);
        let version = self.dice.between(52, 65) as u8;
        let routine = match i % 4 {
            0 => {
                let channel = self.channel(app, "", EXTERNAL);
                let shape = Shape::Poll { minutes: 15, swell: 0.2, spike: None };
                let calls: Mix =
                    &[(C::Query, objects, 80.0), (C::Describe, &objects[..2], 12.0), (C::Update, &objects[..1], 8.0)];
                self.routine(shape, channel, version, daily, 0.01, calls)
            }
            1 => {
                let channel = self.channel("", app, EXTERNAL);
                let calls: Mix =
                    &[(C::Query, objects, 60.0), (C::Upsert, &objects[..1], 25.0), (C::Get, objects, 15.0)];
                self.routine(Shape::Events, channel, version, daily, 0.015, calls)
            }
            2 => {
                let channel = self.channel(app, "", EXTERNAL);
                let shape = Shape::Poll { minutes: 60, swell: 0.0, spike: Some((6 * 60, 0.3)) };
                let calls: Mix = &[(C::Query, objects, 75.0), (C::QueryMore, &objects[..2], 25.0)];
                self.routine(shape, channel, version, daily, 0.008, calls)
            }
            _ => {
                let channel = self.channel("", app, EXTERNAL);
                let shape = Shape::Poll { minutes: 30, swell: 0.1, spike: None };
                let calls: Mix = &[
                    (C::Query, objects, 70.0),
                    (C::Search, &objects[..1], 10.0),
                    (C::Get, objects, 15.0),
                    (C::ApexRest, &[], 5.0),
                ];
                self.routine(shape, channel, version, daily, 0.012, calls)
            }
        };
        let (live, rotate) = (1 + self.dice.below(3), self.dice.pick(&[7, 14, 21, 10_000]));
        self.serve(routine, live, rotate)
    }
}

/// Names of small products.
const TAIL: [&str; 20] = [
    "Signet Sign",
    "Parcel Beacon",
    "Forecast Deck",
    "Data Polish",
    "Survey Loop",
    "Consent Hub",
    "Map Router",
    "Event Pulse",
    "Badge Desk",
    "Quote Forge",
    "Tariff Engine",
    "Vault Copy",
    "Partner Gate",
    "Roster Sync",
    "Lead Sieve",
    "Contract Nest",
    "Stock Relay",
    "Voice Notes",
    "Price Compass",
    "Renewal Radar",
];
