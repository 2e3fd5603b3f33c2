//! The query parameters of a request.
//!
//! Each route names the parameters that it accepts. Others are an error, and so is one that is given twice: a typo such as
//! `registy=main` must not extend a query, or a run, to all registries.

/// Parameters that may be repeated, on every route that accepts them.
const REPEATABLE: [&str; 1] = ["repository"];

/// The parameters of one request, in their order. The route accepts all of them.
#[derive(Debug, Clone)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Parses a query string for a route that accepts these parameters. An error lists them.
    pub(super) fn parse(query: &str, known: &[&str]) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
            if !known.contains(&name.as_str()) {
                return Err(match known {
                    [] => format!("there is no parameter `{name}`: this address takes none"),
                    [only] => format!("there is no parameter `{name}`: there is only `{only}`"),
                    [others @ .., last] => {
                        format!("there is no parameter `{name}`: there are {} and {last}", others.join(", "))
                    }
                });
            }
            let is_repeated = parameters.iter().any(|(other, _)| *other == name);
            if is_repeated && !REPEATABLE.contains(&name.as_str()) {
                return Err(format!("`{name}` is given twice: give it once"));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The names with their values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a parameter that is given at most once.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}
