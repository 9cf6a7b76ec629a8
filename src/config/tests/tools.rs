//! What each kind of email tool needs, and says when it is missing.

use super::*;

/// A destination of an email tool with `lines`.
fn tool(kind: &str, lines: &str) -> String {
    format!("[[destination]]\nname = \"tool\"\nkind = \"{kind}\"\n{lines}")
}

#[test]
fn an_email_tool_says_what_it_lacks() {
    let request = "[[destination.request]]\nurl = \"https://a.example\"\nheaders = { a = \"{{ secret.token }}\" }";
    for (text, message) in [
        (
            tool("klaviyo", ""),
            "1:1: destination: there is no api_key; write api_key_env with the name of the variable that holds it, or api_key, or api_key_file; Klaviyo shows it under",
        ),
        (
            tool("klaviyo", "api_ky = \"hunter2\""),
            "4:1: destination.api_ky: there is no such key; did you mean `api_key`?",
        ),
        (tool("klaviyo", "token = \"hunter2\""), "4:1: destination.token: there is no such key; write `name`"),
        (tool("klaviyo", "api_key = 5"), "4:11: destination.api_key: write text in quotes"),
        (
            tool("klaviyo", "api_key = \"hunter2\"\napi_key_env = \"K\""),
            "5:15: destination.api_key_env: write only one of api_key, api_key_env",
        ),
        (
            tool("klaviyo", "api_key_env = \"GONE\""),
            "4:15: destination.api_key_env: the environment variable GONE is not set; set it to the secret",
        ),
        (
            tool("klaviyo", "api_key_file = \"gone.txt\""),
            "4:16: destination.api_key_file: cannot read the file gone.txt",
        ),
        (
            tool("klaviyo", "api_key = \"hunter2\"\nsecret = \"hunter2\""),
            "5:10: destination.secret: only kind \"webhook\" signs; write api_key, api_key_env or api_key_file",
        ),
        (
            tool("klaviyo", "api_key = \"hunter2\"\nurl = \"https://a.example\""),
            "5:7: destination.url: kind \"klaviyo\" has addresses of its own; leave it out",
        ),
        (
            tool("klaviyo", "api_key = \"hunter2\"\nbatch = 1001"),
            "5:9: destination.batch: 1001 is not possible; write 1 to 1000",
        ),
        (
            tool("brevo", "api_key = \"hunter2\"\nbatch = 2"),
            "5:9: destination.batch: 2 is not possible; kind \"brevo\" takes one event per request; write 1",
        ),
        (
            tool("brevo", "api_key = \"hunter2\"\nnames = { rfm_segmnt = \"x\" }"),
            "5:24: destination.names.rfm_segmnt: kind \"brevo\" has nothing of this name; did you mean \"rfm_segment\"?",
        ),
        (
            tool("mailchimp", "api_key = \"hunter2\""),
            "1:1: destination.vars: write list = \"…\" into vars = { … }; list: the audience's id",
        ),
        (
            tool("mailchimp", "api_key = \"hunter2\"\nvars = { list = \"a\", lst = \"b\" }"),
            "5:28: destination.vars.lst: kind \"mailchimp\" does not use this; did you mean \"list\"?",
        ),
        (
            tool("activecampaign", "api_key = \"hunter2\"\nvars = { account = \"a\" }"),
            "5:8: destination.vars: write actid = \"…\", segment_field = \"…\" into vars = { … }; actid: the number",
        ),
        (
            tool("brevo", "api_key = \"hunter2\"\nbase_url = \"http://192.0.2.1\""),
            "5:12: destination.base_url: this is plain http",
        ),
        (
            tool("brevo", "api_key = \"hunter2\"\nbase_url = \"127.0.0.1:9000\""),
            "5:12: destination.base_url: this is not a web address",
        ),
        (
            tool("brevo", "api_key = \"hunter2\"\nheaders = { a = \"b\" }"),
            "5:11: destination.headers: kind \"brevo\" has headers of its own",
        ),
        (
            tool("template", ""),
            "3:8: destination.kind: kind \"template\" sends what you write; add [[destination.request]]",
        ),
        (
            tool("template", "[[destination.request]]\nurl = \"\"\nmethod = \"GTE\""),
            "6:10: destination.request.method: \"GTE\" is not known; did you mean \"GET\"?",
        ),
        (
            tool("template", "[[destination.request]]\nurll = \"\""),
            "5:1: destination.request.urll: there is no such key; did you mean `url`?",
        ),
        (
            tool("template", &format!("tokn_env = \"T\"\n{request}")),
            "4:1: destination.tokn_env: there is no such key; did you mean `token_env`?",
        ),
        (
            tool("template", "[[destination.request]]\nurl = \"https://a.example\"\nheaders = { Host = \"b\" }"),
            "6:20: destination.request.headers.Host: quintile sets this header itself; leave it out",
        ),
        (
            destination("headers = { Webhook-Id = \"1\" }"),
            "5:26: destination.headers.Webhook-Id: quintile sets this header itself; leave it out",
        ),
    ] {
        let found = error(&text);
        assert!(found.starts_with(&format!("config.toml:{message}")), "{found}\nis not\n{message}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_secret_of_a_tool_comes_from_wherever_it_is_said() {
    let request = "[[destination.request]]\nurl = \"https://a.example\"\nbody = '{\"k\": {{ secret.my_key }}}'";
    let text = tool("klaviyo", "api_key = \"in the file\"\n") + &tool("template", request).replace("tool", "crm");
    let text = text.replace("kind = \"template\"\n", "kind = \"template\"\nmy_key_env = \"MINE\"\n");
    let file = File::new(&text);
    std::fs::write(file.0.path().join("key"), "of a file\n").unwrap();
    let secrets = |environment: &[(&str, &str)], missing| {
        let mut variables = vec![("MINE", "mine")];
        variables.extend(environment);
        let environment: [(&str, &str); 2] = variables.try_into().unwrap();
        let config = file.load_with(environment, missing).unwrap();
        assert!(!format!("{config:?}").contains("mine"));
        (config.destination[0].secrets["api_key"].clone(), config.destination[1].secrets["my_key"].clone())
    };
    for (name, value, key) in [
        ("OTHER", "x", "in the file"),
        ("QUINTILE_DESTINATION__TOOL__API_KEY", "of a variable", "of a variable"),
        ("QUINTILE_DESTINATION__TOOL__API_KEY_FILE", "key", "of a file"),
        ("QUINTILE_DESTINATION__TOOL__API_KEY_ENV", "MINE", "mine"),
    ] {
        assert_eq!(secrets(&[(name, value)], Missing::Refuse), (Secret::new(key), Secret::new("mine")), "{name}");
    }
    assert!(file.load([]).unwrap_err().contains("destination.my_key_env: the environment variable MINE is not set"));
    let looking = file.load_with([], Missing::Allow).unwrap();
    assert!(looking.destination[1].secrets["my_key"].is_empty());
    assert_eq!((looking.destination[0].batch, looking.destination[1].batch), (100, 1));
}
