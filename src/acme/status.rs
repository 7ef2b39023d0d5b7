//! The statuses of ACME's objects (RFC 8555 7.1.6). A server may send one we do not know; it is kept as it is.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($variant,)+
            Unknown(String),
        }

        impl $name {
            /// The status as it is written on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(status: $name) -> Self {
                status.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

status! {
    /// The status of an account.
    AccountStatus { Deactivated = "deactivated", Revoked = "revoked", Valid = "valid" }
}

status! {
    /// The status of an authorization.
    AuthorizationStatus {
        Deactivated = "deactivated",
        Expired = "expired",
        Invalid = "invalid",
        Pending = "pending",
        Revoked = "revoked",
        Valid = "valid",
    }
}

status! {
    /// The status of a challenge.
    ChallengeStatus { Invalid = "invalid", Pending = "pending", Processing = "processing", Valid = "valid" }
}

status! {
    /// The status of an order.
    OrderStatus {
        Invalid = "invalid",
        Pending = "pending",
        Processing = "processing",
        Ready = "ready",
        Valid = "valid",
    }
}
