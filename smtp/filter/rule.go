package filter

// Rule is why a message did not pass. Its text has no content of the message
// and fits a metric's label.
type Rule uint8

// The rules. A message breaks one when the words behind it hold.
const (
	noRule Rule = iota

	// How the message is written. They hold for every way to pass.

	HeaderSize      // a header has over 256 KiB or 1000 fields, or one that matters over 8 KiB, a Content-Type over 4 KiB
	HeaderLine      // a line in a header is no field
	HeaderTwice     // two Content-Type or two Content-Transfer-Encoding fields
	BoundaryForm    // the boundary is over 70 octets, has a blank or another doubtful character, or readers find it in different places
	BoundaryForked  // the boundary is written as only RFC 2231 allows
	DelimiterLike   // a line begins as a delimiter and goes on otherwise
	DelimiterAfter  // a delimiter follows the closing one
	EncodedTop      // a multipart with a transfer encoding that changes octets
	EncodingUnknown // a part that counts has a transfer encoding of no known name
	EncodingBroken  // or does not keep to it

	// Encrypted: a multipart/encrypted of exactly two parts.

	TopType      // M1: the top is not multipart/encrypted
	ControlType  // M2, M3: part 1 is not application/pgp-encrypted
	ControlText  // M3: its text is not "Version: 1"
	DataType     // M2, M4: part 2 is not application/octet-stream
	ThirdPart    // M5: there is a third part
	TwoParts     // M6: there are fewer than two
	ArmorBegin   // A1: part 2 does not begin with the begin line and CRLF
	ArmorEnd     // A2: there is no end line
	ArmorBehind  // A2: something else than CRLF follows the end line
	ArmorHeader  // A3: a "Version: " line, outgoing
	ArmorSum     // A5: a checksum line that is not "=" and four octets of base64
	ArmorSumLast // A5: something follows the checksum line
	ArmorBase64  // A6: not base64, not padded as it must be, or bits are left over
	ArmorLine    // a line has over 998 octets
	PacketMark   // P1: the first octet of a packet is none
	PacketOpen   // P2: a packet of indeterminate length
	PacketPieces // P3: partial lengths on another packet than tag 18
	PacketCut    // P4: the data ends inside a packet
	PacketLast   // P5: the last packet is not of tag 18
	PacketBefore // P6: one before it is not of tag 1 or 3
	PacketNone   // P7: no data

	// Handshake: the first message of securejoin.

	JoinField   // S1: not exactly one Secure-Join field with vc-request or vg-request
	JoinParts   // S2: a multipart with no or several parts
	JoinType    // S3: the part, or the message without parts, is not text/plain
	JoinCharset // S4: its charset does not hold ASCII as it is
	JoinText    // S4: its text is not "secure-join: vc-request" or "secure-join: vg-request"

	// Report: a notice of another server's mailer daemon, incoming only.

	ReportType // R1: the top is not multipart/report
	ReportAuto // R2: no Auto-Submitted field, or an empty one
	ReportFrom // R3: the author is no mailer-daemon
	ReportWay  // R4: outgoing

	// KeyTransfer: an Autocrypt Setup Message to oneself, outgoing only.

	TransferType      // K1: the top is not multipart/mixed
	TransferSubject   // K2: not exactly one Subject, "Autocrypt Setup Message"
	TransferRecipient // K3: not exactly one recipient, who is the author
	TransferWay       // K4: incoming

	rules // how many there are
)

var ruleNames = [rules]string{
	"", "header-size", "header-line", "header-twice", "boundary-form", "boundary-forked", "delimiter-like",
	"delimiter-after", "encoded-top", "encoding-unknown", "encoding-broken",
	"top-type", "control-type", "control-text", "data-type", "third-part", "two-parts",
	"armor-begin", "armor-end", "armor-behind", "armor-header", "armor-sum", "armor-sum-last", "armor-base64", "armor-line",
	"packet-mark", "packet-open", "packet-pieces", "packet-cut", "packet-last", "packet-before", "packet-none",
	"join-field", "join-parts", "join-type", "join-charset", "join-text",
	"report-type", "report-auto", "report-from", "report-way",
	"transfer-type", "transfer-subject", "transfer-recipient", "transfer-way",
}

// String gives the rule's name, "" for none.
func (r Rule) String() string { return ruleNames[r] }

// way is one way to pass. It is open until a rule closes it.
type way struct {
	off    Rule // a rule that does not count; tests see what it is for
	closed Rule // the first rule that was broken
}

// breaks closes the way. It is false when the rule does not count.
func (w *way) breaks(r Rule) bool {
	if r == w.off {
		return false
	}
	if w.closed == noRule {
		w.closed = r
	}
	return true
}

func (w *way) open() bool { return w.closed == noRule }
