//! What the ACME accounts of issuers may still have ordered.

use super::family::{Family, Samples, number};
use crate::decide::budget::Balance;

/// The budget of the account that an issuer uses. Issuers that share an account show the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBudget {
    /// `Issuer` or `ClusterIssuer`.
    pub kind: &'static str,
    /// Empty for a ClusterIssuer.
    pub namespace: String,
    pub name: String,
    pub balance: Balance,
}

pub(super) const FAMILIES: [Family<[AccountBudget]>; 3] = [
    Family::gauge(
        "certwright_acme_orders_allowed",
        "How many orders the account of the issuer may have created within its window; not for those without a limit.",
        |samples, budgets| each(samples, budgets, |balance| balance.most.map(number)),
    ),
    Family::gauge(
        "certwright_acme_orders_left",
        "How many of them are left now; not for those without a limit.",
        |samples, budgets| each(samples, budgets, |balance| Some(number(balance.most?.saturating_sub(balance.used)))),
    ),
    Family::gauge(
        "certwright_acme_orders_waiting",
        "How many Orders wait for a place in the budget of the account.",
        |samples, budgets| each(samples, budgets, |balance| Some(number(balance.waiting))),
    ),
];

fn each(samples: &mut Samples<'_>, budgets: &[AccountBudget], value: fn(&Balance) -> Option<f64>) {
    for budget in budgets {
        let Some(value) = value(&budget.balance) else { continue };
        let labels = [("issuer_kind", budget.kind), ("namespace", &budget.namespace), ("issuer_name", &budget.name)];
        samples.add(&labels, value);
    }
}
