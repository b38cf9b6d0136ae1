package filter

import (
	"io"
	"mime"
	"strings"

	flat "barid/internal/mime"
	"barid/smtp"
	"barid/smtp/header"
)

// Direction is which way a message goes; it decides which exceptions there are.
type Direction uint8

const (
	Outgoing Direction = iota // from our accounts, whomever to
	Incoming                  // from others
)

// Walk judges one message. It is an io.Writer for the content, in pieces of
// any size, lines ending in CRLF, not dot-stuffed. It holds no goroutine and
// needs no closing; a Walk that is not wanted any more is let go.
type Walk struct {
	direction  Direction
	recipients []smtp.Address
	content    *flat.Flat

	head      topHead
	parts     int
	encrypted way
	handshake way
	flawed    way // closed: there is no way at all

	text    short // of part 1, or of the message without parts
	armor   *armor
	packets packets
	body    undo // of the part that is being read; nil for one that does not matter

	judged  bool
	verdict Verdict
}

// topHead is what is kept of the message's header.
type topHead struct {
	top                          string // type "/" subtype, lower case
	multipart                    bool
	join, subject, from, replied []string
}

// New makes a Walk. The recipients are the forward-paths the message is for,
// which KeyTransfer asks for; a Walk reads them until Verdict.
func New(d Direction, recipients ...smtp.Address) *Walk {
	w := &Walk{direction: d, recipients: recipients}
	w.content = flat.NewFlat((*visitor)(w), "secure-join", "subject", "from", "auto-submitted")
	w.packets.way = &w.encrypted
	return w
}

// Read judges the message that r holds. The error is one of r, and then there
// is no verdict.
func Read(r io.Reader, d Direction, recipients ...smtp.Address) (Verdict, error) {
	w := New(d, recipients...)
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 16<<10)); err != nil {
		return Verdict{}, err
	}
	return w.Verdict(), nil
}

// without makes a Walk for which one rule does not count.
func without(off Rule, d Direction, recipients ...smtp.Address) *Walk {
	w := New(d, recipients...)
	w.encrypted.off, w.handshake.off, w.flawed.off = off, off, off
	return w
}

// Write takes the next octets. It never fails. The Walk keeps nothing of p.
func (w *Walk) Write(p []byte) (int, error) {
	if w.judged {
		return len(p), nil
	}
	return w.content.Write(p)
}

// Verdict says what the message is, once all of it was written. What is
// written later does not count.
func (w *Walk) Verdict() Verdict {
	if !w.judged {
		w.content.Close()
		w.judged = true
		w.verdict = w.judge()
	}
	return w.verdict
}

func (w *Walk) judge() Verdict {
	w.endEncrypted()
	w.endHandshake()
	switch {
	case !w.flawed.open():
		return Verdict{Why: w.flawed.closed}
	case w.encrypted.open():
		return Verdict{Kind: Encrypted, Packets: w.packets.packets()}
	case w.handshake.open():
		return Verdict{Kind: Handshake}
	}
	report, transfer := w.report(), w.transfer()
	switch {
	case report == noRule:
		return Verdict{Kind: Report}
	case transfer == noRule:
		return Verdict{Kind: KeyTransfer}
	}
	// Name the rule of what it seems to be meant as.
	switch {
	case w.head.top == "multipart/encrypted":
		return Verdict{Why: w.encrypted.closed}
	case len(w.head.join) > 0:
		return Verdict{Why: w.handshake.closed}
	case w.head.top == "multipart/report":
		return Verdict{Why: report}
	case len(w.head.subject) > 0 && decoded(w.head.subject[0]) == transferSubject:
		return Verdict{Why: transfer}
	}
	return Verdict{Why: w.encrypted.closed}
}

// endEncrypted asks what can only be asked at the end.
func (w *Walk) endEncrypted() {
	if w.parts < 2 {
		w.encrypted.breaks(TwoParts)
	}
}

// endHandshake does the same.
func (w *Walk) endHandshake() {
	if w.head.multipart && w.parts != 1 {
		w.handshake.breaks(JoinParts)
	}
	text, ok := w.text.text()
	text = strings.ToLower(text)
	if !ok || text != "secure-join: vc-request" && text != "secure-join: vg-request" {
		w.handshake.breaks(JoinText)
	}
}

// report tells which of its rules the message breaks.
func (w *Walk) report() Rule {
	way := way{off: w.flawed.off}
	if w.head.top != "multipart/report" {
		way.breaks(ReportType)
	}
	if v := w.head.replied; len(v) == 0 || v[0] == "" {
		way.breaks(ReportAuto)
	}
	if from, ok := w.from(); !ok || !strings.EqualFold(from.LocalPart, "mailer-daemon") {
		way.breaks(ReportFrom)
	}
	if w.direction != Incoming {
		way.breaks(ReportWay)
	}
	return way.closed
}

// transferSubject is what old cores write above a key for oneself.
const transferSubject = "Autocrypt Setup Message"

// transfer tells which of its rules the message breaks.
func (w *Walk) transfer() Rule {
	way := way{off: w.flawed.off}
	if w.head.top != "multipart/mixed" {
		way.breaks(TransferType)
	}
	if v := w.head.subject; len(v) != 1 || decoded(v[0]) != transferSubject {
		way.breaks(TransferSubject)
	}
	if from, ok := w.from(); !ok || len(w.recipients) != 1 || w.recipients[0].Fold() != from.Fold() {
		way.breaks(TransferRecipient)
	}
	if w.direction != Outgoing {
		way.breaks(TransferWay)
	}
	return way.closed
}

// from gives the author when there is exactly one.
func (w *Walk) from() (smtp.Address, bool) {
	var fields []header.Field
	for _, v := range w.head.from {
		fields = append(fields, header.Field{Name: "From", Value: v})
	}
	a, err := header.From(fields)
	return a, err == nil
}

// decoded undoes the encoded words of RFC 2047 when all are well.
func decoded(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	if d, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		return d
	}
	return s
}
