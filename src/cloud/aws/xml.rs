//! The errors of services that speak XML.

use serde::Deserialize;

/// The longest piece of a service's own words, in characters.
const LONGEST_WORDS: usize = 300;

/// What a service says when it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// Such as `AccessDenied`.
    pub code: String,
    message: String,
}

/// `ErrorResponse`, with a list of errors in some places, and `InvalidChangeBatch` of Route 53, which has no code within.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    error: Option<Inner>,
    errors: Option<Errors>,
    messages: Option<Messages>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Errors {
    error: Inner,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inner {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Messages {
    #[serde(default)]
    message: Vec<String>,
}

impl ServiceError {
    /// From the body of an answer; none if it is no error of a service, such as the page of a proxy.
    pub fn read(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let body: Body = quick_xml::de::from_str(text).ok()?;
        match body {
            Body { error: Some(Inner { code, message }), .. }
            | Body { errors: Some(Errors { error: Inner { code, message } }), .. } => Some(Self { code, message }),
            Body { messages: Some(Messages { message }), .. } => {
                Some(Self { code: "InvalidChangeBatch".to_owned(), message: message.join(" ") })
            }
            _ => None,
        }
    }

    /// Whether it was too much, or too early after the last request.
    pub fn is_throttling(&self) -> bool {
        [
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestThrottled",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
        ]
        .contains(&self.code.as_str())
    }

    /// Whether the fault may be on the other side.
    pub fn is_outage(&self) -> bool {
        ["IDPCommunicationError", "InternalError", "InternalFailure", "ServiceUnavailable"]
            .contains(&self.code.as_str())
    }

    /// Whether other credentials of the same source may do: these are over, or were taken back.
    pub fn is_about_credentials(&self) -> bool {
        ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"]
            .contains(&self.code.as_str())
    }

    /// The whole of what the service said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Its own words as far as they do not change from one time to the next, with what to do.
    pub fn words(&self) -> String {
        let code = &self.code;
        match code.as_str() {
            "SignatureDoesNotMatch" | "RequestExpired" if self.is_about_time() => {
                format!(
                    "{code}: the clocks here and at AWS are more than five minutes apart; check time synchronisation"
                )
            }
            "SignatureDoesNotMatch" => format!("{code}: the secret access key does not belong to the access key id"),
            "ExpiredToken" | "ExpiredTokenException" => format!("{code}: the credentials are not valid any more"),
            "InvalidClientTokenId" | "UnrecognizedClientException" => {
                format!("{code}: AWS does not know the access key, or it is not active")
            }
            _ => {
                let line = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
                let short: String = line.chars().filter(|letter| !letter.is_control()).take(LONGEST_WORDS).collect();
                format!("{code}: {short}")
            }
        }
    }

    fn is_about_time(&self) -> bool {
        self.code == "RequestExpired" || ["expired", "not yet current"].iter().any(|word| self.message.contains(word))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(code: &str, message: &str) -> ServiceError {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>b25f48e8</RequestId>\
             </ErrorResponse>"
        );
        ServiceError::read(body.as_bytes()).unwrap()
    }

    #[test]
    fn words_do_not_change() {
        let denied = read("AccessDenied", "User: arn:aws:iam::1:user/a is not\n authorized");
        assert_eq!(denied.words(), "AccessDenied: User: arn:aws:iam::1:user/a is not authorized");
        let late =
            read("SignatureDoesNotMatch", "Signature expired: 20150830T123600Z is now earlier than 20150830T124600Z");
        assert!(late.words().contains("time synchronisation") && !late.words().contains("2015"), "{}", late.words());
        let wrong =
            read("SignatureDoesNotMatch", "The Canonical String should have been 'GET x-amz-date:20150830T123600Z'");
        assert!(wrong.words().contains("secret access key") && !wrong.words().contains("2015"), "{}", wrong.words());
        let over = read("ExpiredTokenException", "Token expired: current date/time 1700000000 must be before");
        assert!(!over.words().contains("17000"), "{}", over.words());
    }

    #[test]
    fn what_helps() {
        assert!(read("Throttling", "Rate exceeded").is_throttling());
        assert!(read("PriorRequestNotComplete", "").is_throttling());
        assert!(read("ExpiredToken", "").is_about_credentials());
        assert!(!read("AccessDenied", "").is_throttling());
    }

    #[test]
    fn forms_of_errors() {
        let list = "<ErrorResponse><Errors><Error><Code>AccessDenied</Code><Message>No</Message></Error></Errors></ErrorResponse>";
        assert_eq!(ServiceError::read(list.as_bytes()).unwrap().words(), "AccessDenied: No");

        let own = "<InvalidChangeBatch xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Messages><Message>Tried to \
                   create &apos;a&apos;</Message><Message>and b</Message></Messages></InvalidChangeBatch>";
        let error = ServiceError::read(own.as_bytes()).unwrap();
        assert_eq!((error.code.as_str(), error.message()), ("InvalidChangeBatch", "Tried to create 'a' and b"));
        assert_eq!(read("InvalidChangeBatch", "[Tried]").message(), "[Tried]");
    }

    #[test]
    fn other_pages_are_no_errors() {
        for page in ["<html><body>Bad gateway</body></html>", "", "{}", "<a>&lol;</a>", "<ErrorResponse/>"] {
            assert_eq!(ServiceError::read(page.as_bytes()), None, "{page}");
        }
    }
}
