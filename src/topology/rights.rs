//! Privileges of an account, by its SHOW GRANTS.
//!
//! Owns: how a grant is read. Does not know: who needs which. Invariant: what comes by a role is not seen; `by_roles` says where there is one.

/// Those of `rights` that the account lacks on a table of the database `tidegate`.
pub(super) fn missing(grants: &[String], table: &str, rights: &[&'static str]) -> Vec<&'static str> {
    let there = ["*.* ", "`tidegate`.* ", &format!("`tidegate`.`{table}` ")];
    let has = |right: &str| {
        grants.iter().any(|grant| {
            let Some((head, on)) = grant.trim_start_matches("GRANT ").split_once(" ON ") else {
                return false;
            };
            there.iter().any(|on_it| on.starts_with(on_it))
                && head.split(',').map(str::trim).any(|given| given == right || given == "ALL PRIVILEGES")
        })
    };
    rights.iter().copied().filter(|right| !has(right)).collect()
}

/// Whether roles may give it more.
pub(super) fn by_roles(grants: &[String]) -> bool {
    grants.iter().any(|grant| grant.starts_with("GRANT ") && !grant.contains(" ON "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_that_are_missing_are_named() {
        const RIGHTS: [&str; 4] = ["CREATE", "SELECT", "INSERT", "DELETE"];
        let texts = |grants: &[&str]| grants.iter().map(|grant| (*grant).to_owned()).collect::<Vec<_>>();
        let missing = |grants: &[&str]| missing(&texts(grants), "switchover", &RIGHTS);
        let everywhere = "GRANT SELECT, RELOAD ON *.* TO `f`@`%`";
        assert_eq!(missing(&[everywhere, "GRANT INSERT, DELETE ON `tidegate`.* TO `f`@`%`"]), ["CREATE"]);
        assert_eq!(missing(&["GRANT ALL PRIVILEGES ON `tidegate`.* TO `f`@`%`"]), [""; 0]);
        assert_eq!(missing(&["GRANT ALL PRIVILEGES ON `other`.* TO `f`@`%`"]), RIGHTS);
        assert_eq!(missing(&["GRANT ALL PRIVILEGES ON `tidegate`.`other` TO `f`@`%`"]), RIGHTS);
        assert!(by_roles(&texts(&["GRANT USAGE ON *.* TO `f`@`%`", "GRANT `r`@`%` TO `f`@`%`"])));
        assert!(!by_roles(&texts(&[everywhere])));
    }
}
