package filter

import (
	"io"
	"slices"
	"strings"

	flat "barid/internal/mime"
)

// visitor is the side of a Walk that is told what the message consists of.
type visitor Walk

var flaws = [...]Rule{
	flat.FlawSize:      HeaderSize,
	flat.FlawLine:      HeaderLine,
	flat.FlawTwice:     HeaderTwice,
	flat.FlawBoundary:  BoundaryForm,
	flat.FlawContinued: BoundaryForked,
	flat.FlawDelimiter: DelimiterLike,
	flat.FlawAfter:     DelimiterAfter,
}

func (v *visitor) Flaw(f flat.Flaw) {
	v.flawed.breaks(flaws[f])
	v.settle()
}

// settle ends the walk when nothing that may still come changes the verdict:
// what is a Report or a KeyTransfer is known from the message's header.
func (v *visitor) settle() {
	if !v.flawed.open() || !v.encrypted.open() && !v.handshake.open() {
		v.content.Stop()
	}
}

func (v *visitor) Head(n int, h *flat.Head) {
	v.body = nil
	v.parts = n
	kind := h.Type + "/" + h.Subtype
	if n == 0 {
		v.top(kind, h)
	} else {
		v.inner(n, kind, h)
	}
	v.settle()
}

// top looks at the header of the message.
func (v *visitor) top(kind string, h *flat.Head) {
	v.head = topHead{
		top: kind, multipart: h.Type == "multipart",
		join: h.Values("secure-join"), subject: h.Values("subject"),
		from: h.Values("from"), replied: h.Values("auto-submitted"),
	}
	if kind != "multipart/encrypted" {
		v.encrypted.breaks(TopType)
	}
	if j := v.head.join; len(j) != 1 || j[0] != "vc-request" && j[0] != "vg-request" {
		v.handshake.breaks(JoinField)
	}
	if !v.head.multipart {
		v.joinPart(kind, h)
		v.read(h, &v.text)
	} else if !identity(encoding(h)) {
		v.flawed.breaks(EncodedTop)
	}
}

// inner looks at the header of a part.
func (v *visitor) inner(n int, kind string, h *flat.Head) {
	switch n {
	case 1:
		if kind != "application/pgp-encrypted" {
			v.encrypted.breaks(ControlType)
		}
		v.joinPart(kind, h)
		v.read(h, &v.text)
	case 2:
		v.handshake.breaks(JoinParts)
		if kind != "application/octet-stream" {
			v.encrypted.breaks(DataType)
		}
		if v.encrypted.open() {
			v.armor = newArmor(&v.encrypted, v.direction == Incoming, &v.packets)
			v.read(h, v.armor)
		}
	default:
		v.encrypted.breaks(ThirdPart)
	}
}

// joinPart looks at the header above the text of a securejoin request.
func (v *visitor) joinPart(kind string, h *flat.Head) {
	if kind != "text/plain" {
		v.handshake.breaks(JoinType)
	}
	charset := strings.ToLower(h.Params["charset"])
	if slices.ContainsFunc([]string{"utf-7", "utf7", "utf-16", "utf16", "utf-32", "utf32", "ucs", "iso-10646", "unicode", "ibm", "cp0", "ebcdic"},
		func(s string) bool { return strings.HasPrefix(charset, s) }) {
		v.handshake.breaks(JoinCharset)
	}
}

// read leads the body that follows to where it is read, decoded, as long as
// anybody wants to know.
func (v *visitor) read(h *flat.Head, to io.Writer) {
	if !v.encrypted.open() && !v.handshake.open() {
		return
	}
	v.body = newUndo(encoding(h), to, func() { v.both(EncodingBroken) })
	if v.body == nil {
		if !v.both(EncodingUnknown) {
			v.body = plain{to}
		}
	}
}

// both closes the two ways whose bodies are read.
func (v *visitor) both(r Rule) bool {
	a, b := v.encrypted.breaks(r), v.handshake.breaks(r)
	return a || b
}

func (v *visitor) Body(_ int, p []byte) {
	if v.body != nil {
		v.body.Write(p)
		v.settle()
	}
}

func (v *visitor) End(n int) {
	if n == 0 && v.head.multipart {
		return
	}
	if v.body != nil {
		v.body.finish()
	}
	v.body = nil
	switch n {
	case 1:
		if text, ok := v.text.text(); !ok || text != "Version: 1" {
			v.encrypted.breaks(ControlText)
		}
	case 2:
		if v.armor != nil {
			v.armor.finish()
			v.packets.finish()
		}
	}
	v.settle()
}

// encoding gives the name of the transfer encoding; no field is "".
func encoding(h *flat.Head) string {
	e, _ := h.Value("content-transfer-encoding")
	return e
}

// identity tells whether an encoding changes no octet.
func identity(name string) bool {
	_, ok := newUndo(name, nil, nil).(plain)
	return ok
}
