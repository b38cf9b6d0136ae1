// Package metadata has the file in which an account keeps its own metadata
// entries (RFC 5464) and the tokens of its devices.
//
//	<account>/metadata.json
//	  {
//	    "devicetoken": {"openpgp:...": 1775324677, ...},
//	    "entries": {"INBOX": {"/private/comment": "aGVsbG8="}}
//	  }
//
// "devicetoken" is as the reference has it: each token with the time it was
// last set, in seconds since 1970, in the order they first came. An older form
// of it is a mere list of tokens. "entries" is ours: by mailbox ("" is the
// account) and name, the value in base64. Other members are kept as they are.
package metadata
