//! Made-up names and ids, and the objects an organisation has. Nothing here belongs to anyone.

use super::dice::Dice;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Twelve base-62 characters of `number`, as they follow an id's key prefix.
pub(super) fn base62(number: u64) -> [u8; 12] {
    let mut n = number;
    let mut text = *b"000000000000";
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(n % 62) as usize];
        n /= 62;
    }
    text
}

/// A 15-character id with this key prefix: the platform's shape, with an instance code and zeros in the middle.
pub(super) fn id15(prefix: &str, dice: &mut Dice) -> String {
    let tail = base62(dice.bits());
    let mut id = String::with_capacity(15);
    id.push_str(prefix);
    id.extend(tail[..4].iter().map(|&b| char::from(b)));
    id.push_str("000");
    id.extend(tail[4..9].iter().map(|&b| char::from(b)));
    id
}

/// The three characters that make a 15-character id safe to compare without regard to case: each encodes which of
/// five characters are upper case.
pub(super) fn id_suffix(id: &[u8; 15]) -> [u8; 3] {
    const CODES: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    [0, 5, 10].map(|from| {
        let bits = id[from..from + 5].iter().rev().fold(0, |n, b| (n << 1) | usize::from(b.is_ascii_uppercase()));
        CODES[bits]
    })
}

/// The 18-character form of a 15-character id; other texts stay as they are.
pub(super) fn id18(id: &str) -> String {
    match <&[u8; 15]>::try_from(id.as_bytes()) {
        Ok(bytes) if bytes.iter().all(u8::is_ascii_alphanumeric) => {
            let mut long = id.to_owned();
            long.extend(id_suffix(bytes).map(char::from));
            long
        }
        _ => id.to_owned(),
    }
}

/// Objects. 0 is "no object"; the first are the ones everybody uses, the last ones are seldom or never touched.
pub(super) const ENTITIES: [&str; 84] = [
    "",
    "Account",
    "Contact",
    "Lead",
    "Opportunity",
    "Task",
    "Event",
    "Case",
    "User",
    "Campaign",
    "CampaignMember",
    "Product2",
    "PricebookEntry",
    "Quote",
    "QuoteLineItem",
    "Order",
    "OrderItem",
    "Contract",
    "Asset",
    "EmailMessage",
    "ContentVersion",
    "ContentDocument",
    "Report",
    "Dashboard",
    "OpportunityLineItem",
    "OpportunityHistory",
    "CaseComment",
    "CaseHistory",
    "RecordType",
    "Profile",
    "UserRole",
    "Organization",
    "ApexClass",
    "ApexTrigger",
    "CustomField",
    "Flow",
    "Layout",
    "PermissionSet",
    "Account;Contact",
    "Pricebook2",
    "AccountHistory",
    "ContactHistory",
    "LeadHistory",
    "FeedItem",
    "Attachment",
    "Note",
    "Group",
    "EmailTemplate",
    "Entitlement",
    "ServiceContract",
    "WorkOrder",
    "AccountTeamMember",
    "OpportunityTeamMember",
    "Invoice__c",
    "Payment__c",
    "Subscription__c",
    "Portfolio__c",
    "Household__c",
    "Advisor__c",
    "Fee_Schedule__c",
    "Call_Log__c",
    "Shipment__c",
    "Training__c",
    "Document_Request__c",
    "Territory__c",
    "Renewal__c",
    "Partner_Deal__c",
    "Survey_Response__c",
    "Holding__c",
    "KYC_Review__c",
    "Payroll__c",
    "Compensation__c",
    "Beneficiary__c",
    "Bank_Detail__c",
    "Tax_Record__c",
    "Legal_Matter__c",
    "Audit_Note__c",
    "Board_Paper__c",
    "Credit_Check__c",
    "Background_Check__c",
    "Source_Contract__c",
    "Password_Vault__c",
    "CaseTeamMemberHistory__c",
    "Insider_List__c",
];

/// The number of an object.
pub(super) fn entity(name: &str) -> u16 {
    ENTITIES.iter().position(|e| *e == name).expect("the simulator names only objects of its own list") as u16
}

/// The id of nobody.
pub(super) const NULL_USER: &str = "000000000000000";

/// First names of users.
pub(super) const FIRST: [&str; 48] = [
    "adele", "agnes", "alvin", "amara", "anders", "beatrix", "bernard", "callum", "carmen", "cedric", "clara", "dalia",
    "dexter", "edith", "elias", "farah", "felix", "gemma", "gustav", "harriet", "hugo", "imogen", "ingrid", "jasper",
    "joanna", "kamal", "katrin", "lionel", "lucinda", "magnus", "marisol", "nadia", "nestor", "octavia", "oscar",
    "paloma", "quentin", "ramona", "rupert", "sabine", "silas", "tamsin", "tobias", "ursula", "viola", "walter",
    "yasmin", "zachary",
];

/// Last names of users.
pub(super) const LAST: [&str; 48] = [
    "abernathy",
    "ashdown",
    "bellweather",
    "birchall",
    "blackwood",
    "carrington",
    "castellan",
    "dunmore",
    "eastlake",
    "ellsworth",
    "fairbanks",
    "fenwick",
    "galloway",
    "greenhalgh",
    "hargreave",
    "hollister",
    "ingleby",
    "jessop",
    "kingsford",
    "lancaster",
    "lindqvist",
    "lockhart",
    "mandeville",
    "merriweather",
    "montrose",
    "northcote",
    "oakhurst",
    "okonkwo",
    "pemberton",
    "pickering",
    "quartermain",
    "ravenhill",
    "redfern",
    "rosenthal",
    "sandoval",
    "shackleton",
    "silverman",
    "stanhope",
    "tattersall",
    "thornbury",
    "underhill",
    "vandermeer",
    "wainwright",
    "westbrook",
    "whitcombe",
    "winterbourne",
    "yardley",
    "zielinski",
];
