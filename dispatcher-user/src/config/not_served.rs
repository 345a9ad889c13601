//! Refuses what this version reads and checks but does not serve yet: services of mode `secure`, and QoS classes.
//!
//! This is the only place that does. A file is refused by [`in_file`] when it is to be run with or checked, a service that
//! comes otherwise, over the control socket or from the state file, by [`service`].

use super::{
    Config,
    document::{Faults, Section},
    problem::Problem,
    words::ServiceMode,
};
use crate::{
    core::model::ServiceSpec,
    failure::{Code, Failure},
};

const MODE: &str = "mode = \"secure\"";

/// What a file that was read as `config` says and nobody would act on, with its places.
pub(super) fn in_file(services: &[Section<'_, '_>], classes: &[Section<'_, '_>], config: &Config) -> Faults {
    let mut faults = Faults::default();
    for section in services {
        // A word that is wrong is told by whoever reads the service.
        let mode = section.word("mode", &mut Faults::default());
        if let (Some(ServiceMode::Secure), Some(span)) = (mode, section.key_span("mode")) {
            faults.add(&span, Problem::NotBuilt(MODE.to_owned()));
        }
    }
    if config.qos != Config::default().qos {
        for section in classes {
            faults.add(&section.span, Problem::NotBuilt("[[qos]]".to_owned()));
        }
    }
    faults
}

/// Refuses a service that nobody would serve.
///
/// # Errors
/// It is of mode `secure`.
pub(crate) fn service(spec: &ServiceSpec) -> Result<(), Failure> {
    if spec.secure.is_none() {
        return Ok(());
    }
    let message = format!("`{MODE}` of service `{}` is not built in this version", spec.name);
    Err(Failure::new(Code::NOT_BUILT, message).fix("leave it out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_service_that_comes_otherwise_is_refused_too() {
        let packet = "[[service]]\nname = 'a'\nvip = '203.0.113.10:443'\nprotocol = 'tcp'\n";
        let secure =
            format!("{packet}mode = 'secure'\ntls.certificates = [{{ chain = 'a.pem' }}]\ntunnels.verify = false\n");
        let refused = |text: &str| service(parse(text, "f").unwrap().services.first().unwrap());
        assert_eq!(refused(packet), Ok(()));
        assert_eq!(
            refused(&secure).unwrap_err().message,
            "`mode = \"secure\"` of service `a` is not built in this version"
        );
    }
}
