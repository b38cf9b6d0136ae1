// Package wire has the frames of both generations of the iroh relay protocol,
// their logins, and how they travel: bytes in, values out, and back. It knows
// no connection and no policy.
//
// Three dialects exist. P3 ("protocol version 3") is spoken by iroh 0.29 to
// 0.90 and by the Delta Chat core; V1 and V2 (the websocket subprotocols
// iroh-relay-v1 and iroh-relay-v2) by iroh 0.91 and later. P3 shares neither
// numbers nor login with the others; V1 and V2 differ in one frame.
//
//	P3      HTTP/1.1 upgrade "iroh derp http", then  type:u8 | length:u32 | payload
//	        or a bare websocket, each binary message being  type:u8 | payload
//	V1, V2  websocket, each binary message being  type:varint | payload
//
// A relay decrypts nothing: it passes opaque datagrams on, by the public key
// they are for.
//
// Source: iroh-relay 0.35 (protos/relay.rs, server/client.rs), iroh-relay 1.0
// (protos/handshake.rs, protos/relay.rs), RFC 6455.
package wire
