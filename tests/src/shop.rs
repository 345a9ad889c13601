//! Services like the lab's shop, in front of other backends or with other settings.

use dispatcher_lab::{
    addresses::VIP4,
    certificates::Certificates,
    config::{SHOP_PORT, shop_section},
    demo_backend::HTTPS_PORT,
};

/// The section of a service that differs from the shop in its name, its port, the port of its backends, and more settings.
///
/// # Panics
/// When the shop's section is not as it was.
#[must_use]
pub fn section(certificates: &Certificates, name: &str, port: u16, backend_port: u16, settings: &str) -> String {
    let mut text = shop_section(name, VIP4.into(), crate::stage::BACKENDS, certificates);
    // Only one service can answer there.
    text = text.lines().filter(|line| !line.starts_with("redirect")).map(|line| format!("{line}\n")).collect();
    for (shop, this) in [
        (format!(":{SHOP_PORT}\""), format!(":{port}\"")),
        (format!(":{HTTPS_PORT}\""), format!(":{backend_port}\"")),
        ("mode = \"secure\"\n".to_owned(), format!("mode = \"secure\"\n{settings}\n")),
    ] {
        assert!(text.contains(&shop), "{shop} is not in\n{text}");
        text = text.replace(&shop, &this);
    }
    text
}
