//! Made once, outside, with keys that were thrown away: ring makes no RSA keys, and the repository holds no private ones.

/// A public RSA key of 2048 bits.
pub(crate) const RSA_2048_KEY: &str = r#"{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": "tmvIftMr8Fv4l54ons_3zyIXOSeKrUaghsZhiM36_HGldyMJ2WcdvD13ID0gY2H3oFGYtZKcW6wQrqPkQXxZt1LxlQzRhXy0jqMKNwWCRFI5dB1UMqXLfvRk2jWjMwtQoC0AWFxL8iiUfBL0Tq0szpWIDBIZX_xfIppvPET7fKu90XBaFXXi0GAE-GI0Yy5OCiqvgraHXfonYFPH0ghG1Js2GVyLSXyIQi65-RHHtGnX6b_aODAEP5sI1cMzPWpJpIR589L5MIobxgv5Os-BfnNiTtgSXntwrs824-7aQunsf72OXi1KLVxkNNs8jAyMz1gBRFqd91zaiPZ-23x1dw", "e": "AQAB"}"#;
/// A good token under it.
pub(crate) const RSA_2048_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogImF0K2p3dCIsICJraWQiOiAicnNhIn0.eyJpc3MiOiAiaHR0cHM6Ly9pZC5leGFtcGxlLmNvbSIsICJhdWQiOiAiaHR0cHM6Ly9ndy5leGFtcGxlLmNvbS9tY3AiLCAic3ViIjogImFubiIsICJpYXQiOiAxODAwMDAwMDAwLCAiZXhwIjogMTgwMDAwMDMwMH0.f4_-S-YSRaLtysYbDdbSiifU4jO5JDhNug1mzX5-qsIj_EXCqNYrG-7TScAvTyENS1p1rWohb1UZLcR-lLzqvHKC--NsrQlEKQmyT93QFeICdd-SyYM7UgWG6bujJrgYRT-2xlsdpdXNES0u9mGoW90fn0mg8EX4croaPjFFnhg5fXXaUdkqhrau_cG0xJY9n1jbsMvaevMe4jlxIlMLMFchWg4k7x3LB-OBYH5Zovlv-ds-Al6OiG2vFRTGgkvALUZKVihurZmamLIEFMmtSxOt0VBewMTNuIPXxt38ZGg-NI1IzcU92FxAHE9Q_592Od1D7HnllR0XzaJAt_jQ6Q";

/// The same with a signature of RSASSA-PSS by the same key.
pub(crate) const RSA_PSS_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogImF0K2p3dCIsICJraWQiOiAicnNhIn0.eyJpc3MiOiAiaHR0cHM6Ly9pZC5leGFtcGxlLmNvbSIsICJhdWQiOiAiaHR0cHM6Ly9ndy5leGFtcGxlLmNvbS9tY3AiLCAic3ViIjogImFubiIsICJpYXQiOiAxODAwMDAwMDAwLCAiZXhwIjogMTgwMDAwMDMwMH0.j3mAfTO0l8mcyK_rBC8zkIXAhsbuyDh4ub72x_BMtWAzFKBDltRJsmqQIR9WXRqucOBr0EnJeOvqmd0mZ2rYudXnCINvsIOth62VlMfVTiAcu-UW155pSjL2RR2KPG93PyTrS7J-Pdv_QKp0jIFHlAzU2ejXKBQlgkctSBesvY8ibGMchzrBz36cxdTTMqgQIDcnQrcc0pbzeDtHl4mqBp6F631AGJ0AgnK-JlJ08yshIF_RGDYSkqqUGFFp_u2xmueqAC4euftnpwfJ2dffiqC925j_qCXN42xInfIMsbWuqoZr4Ff4ifz-dR06hLBZz1l73McPH3K-xo7HBjo0gg";

/// The first key as people pass it around.
pub(crate) const RSA_2048_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtmvIftMr8Fv4l54ons/3
zyIXOSeKrUaghsZhiM36/HGldyMJ2WcdvD13ID0gY2H3oFGYtZKcW6wQrqPkQXxZ
t1LxlQzRhXy0jqMKNwWCRFI5dB1UMqXLfvRk2jWjMwtQoC0AWFxL8iiUfBL0Tq0s
zpWIDBIZX/xfIppvPET7fKu90XBaFXXi0GAE+GI0Yy5OCiqvgraHXfonYFPH0ghG
1Js2GVyLSXyIQi65+RHHtGnX6b/aODAEP5sI1cMzPWpJpIR589L5MIobxgv5Os+B
fnNiTtgSXntwrs824+7aQunsf72OXi1KLVxkNNs8jAyMz1gBRFqd91zaiPZ+23x1
dwIDAQAB
-----END PUBLIC KEY-----
";

/// A public RSA key of 2040 bits: too short.
pub(crate) const RSA_2040_KEY: &str = r#"{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": "wJW6n6vJA-9Ywjop8UuS4S02lPJIcWgOBWphduekDQwaT8M5uMjFgeXqC-y6aEPiPGUTt_P7rKIprRIsgseji9pMAxowQhZctOl73Y9D3e14J90bZVxB5sGzaB4O_CQb5js888c5QdG_buCbJbuQtV0m65Pxy62_jpUVk5MogGuEP0bbAVNltmqPan3rYev8jvR-4aVM4H6VXNSKCjZR_X4axc6ikOUeBXO0ET-8PK7Q9qcFNBSmUSI8dJ7Dpf9q7IPrC5PIH44t_Wc8lFFC_gYk2US9LVuZUcDZ223YXz6SJnoEv0eQiNe6ENCGkHNiB9RLJ20JlCkLUBE6EObx", "e": "AQAB"}"#;
/// A good token under it.
pub(crate) const RSA_2040_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogImF0K2p3dCIsICJraWQiOiAicnNhIn0.eyJpc3MiOiAiaHR0cHM6Ly9pZC5leGFtcGxlLmNvbSIsICJhdWQiOiAiaHR0cHM6Ly9ndy5leGFtcGxlLmNvbS9tY3AiLCAic3ViIjogImFubiIsICJpYXQiOiAxODAwMDAwMDAwLCAiZXhwIjogMTgwMDAwMDMwMH0.LlCBGpTQ8K-FqY8pwkoSJ3CbPr0sczZusmzue1OXKPLs9o_kZw-KJsnBfmXFRpIQ5u8Yn-pB3gFr1N0BHwEjhO9azWTQXcRztzLYlI7GBxyZSfKA5PE3YkNoAkZjVQZdtItyArom5BagD_9ZYmzYnuvapW_Jc98IL7dpWMNhisPyqsOmAOxAyaEI9NLD9kxDJ_DlyQOQKZaP6gTdzf-kiJEFexrLiZHXhNPwzCoBJD_oqlmR8I6ocY0sFZUkilA8Dtg25E4cDzT6fm2KQOlkcYakfI1qT2IMu0CX6kZmbMpWsFsBShovtvWPXtOT2fI2ajCAGJCSIFqShXduH0UW";

/// A public RSA key of 1024 bits: too short.
pub(crate) const RSA_1024_KEY: &str = r#"{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": "3QMrasBX53ZOncC77l-aAkT4seU0aG0wz41IuBcSKttcI5c2ktfEzRJPzACJlWrytHY2jbMTMklV-UxdWWHafSbGUWikbNOsQ_gnQM2zlUiDPrBZbq9KEZFiXD-S0TwHWOwtjffKu3KXlAnLxzq1bRy3xnoETAadq1FMmgY_Wek", "e": "AQAB"}"#;
/// A good token under it.
pub(crate) const RSA_1024_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogImF0K2p3dCIsICJraWQiOiAicnNhIn0.eyJpc3MiOiAiaHR0cHM6Ly9pZC5leGFtcGxlLmNvbSIsICJhdWQiOiAiaHR0cHM6Ly9ndy5leGFtcGxlLmNvbS9tY3AiLCAic3ViIjogImFubiIsICJpYXQiOiAxODAwMDAwMDAwLCAiZXhwIjogMTgwMDAwMDMwMH0.MWxrmYquAPLkH6-5vlBnSIiWFcmjquSMx5rAXzbiYtEENGKdR9MSReIravKTYpDPsKSpdqZhrpRezkGd6w_iArHj3rvcEV-fpzGcLp9z9YfDIlXI_H_JbhD6tGAKTrNaYLSbhiMNe4LH2YZp9RGRmGeh2C5dPtbf1prklzjxru0";
