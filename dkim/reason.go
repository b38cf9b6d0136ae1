package dkim

// Reason is why one signature does not count. As an error it has no content
// of the message; its text fits a metric's label.
type Reason string

// The reasons.
const (
	Syntax     Reason = "syntax"      // the field is not well formed, or lacks a tag
	TooBig     Reason = "too-big"     // over 8 KiB, or over 100 names in h=
	Algorithm  Reason = "algorithm"   // v=, a=, c= or q= has a value we do not take; SHA-1 among them
	BodyLength Reason = "body-length" // l=: the end of the body is anybody's
	Identity   Reason = "identity"    // i= is not of the domain as spelled in d=, or the key does not allow it
	Author     Reason = "author"      // h= does not name From for each that there is
	Expired    Reason = "expired"     // x= has passed five minutes ago, or is not after t=
	Future     Reason = "future"      // t= is still to come
	EmptyLines Reason = "empty-lines" // over 8,192 of them in a row in the body
	BodyHash   Reason = "body-hash"   // the body is another one
	TooMany    Reason = "too-many"    // the body was read six times for other signatures and keys
	NoKey      Reason = "no-key"      // the selector has no record that is a key
	BadKey     Reason = "bad-key"     // it has one that does not parse, or is too short or too long
	Revoked    Reason = "revoked"     // p= is empty
	KeyUse     Reason = "key-use"     // the key is for another algorithm or service
	Testing    Reason = "testing"     // t=y: as if unsigned (RFC 6376 section 3.6.1)
	Mismatch   Reason = "mismatch"    // the signature is not of this header and key
	Trouble    Reason = "trouble"     // the DNS could not tell; temporary
)

func (r Reason) Error() string { return "signature: " + string(r) }
