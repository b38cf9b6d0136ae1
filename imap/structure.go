package imap

import (
	"maps"
	stdmime "mime"
	"net/mail"
	"slices"
	"strings"

	"barid/imap/wire"
	"barid/internal/mime"
)

// Bounds of one address list of an envelope.
const (
	maxAddresses  = 200
	maxAddressing = 32 << 10 // octets that are looked at
)

// writeEnvelope writes the ENVELOPE of a message (RFC 9051 section 7.5.2).
// A field that cannot be read is NIL.
func writeEnvelope(out *wire.Writer, fields map[string]string) {
	out.Raw("(")
	writeField(out, fields, "date")
	out.Raw(" ")
	writeField(out, fields, "subject")
	from := addresses(fields["from"])
	for _, name := range []string{"from", "sender", "reply-to", "to", "cc", "bcc"} {
		list := addresses(fields[name])
		if len(list) == 0 && (name == "sender" || name == "reply-to") {
			list = from
		}
		out.Raw(" ")
		writeAddresses(out, list)
	}
	out.Raw(" ")
	writeField(out, fields, "in-reply-to")
	out.Raw(" ")
	writeField(out, fields, "message-id")
	out.Raw(")")
}

func writeField(out *wire.Writer, fields map[string]string, name string) {
	v, ok := fields[name]
	out.NString(v, ok)
}

// addresses reads an address list. Names stay encoded as they may be sent. Of
// a list that is too long the first addresses are given, where they can be
// told apart.
func addresses(v string) []*mail.Address {
	if len(v) > maxAddressing {
		v = v[:max(strings.LastIndexByte(v[:maxAddressing], ','), 0)]
	}
	if v == "" {
		return nil
	}
	list, err := mail.ParseAddressList(v)
	if err != nil {
		return nil
	}
	return list[:min(len(list), maxAddresses)]
}

func writeAddresses(out *wire.Writer, list []*mail.Address) {
	if len(list) == 0 {
		out.Raw("NIL")
		return
	}
	out.Raw("(")
	for _, a := range list {
		at := strings.LastIndexByte(a.Address, '@')
		out.Raw("(")
		out.NString(stdmime.QEncoding.Encode("utf-8", a.Name), a.Name != "")
		out.Raw(" NIL ")
		out.String(a.Address[:max(at, 0)])
		out.Raw(" ")
		out.String(a.Address[at+1:])
		out.Raw(")")
	}
	out.Raw(")")
}

// writeStructure writes the BODYSTRUCTURE of a part, or its BODY when
// extended is false (RFC 9051 section 7.5.2).
func writeStructure(out *wire.Writer, p *mime.Part, extended bool) {
	out.Raw("(")
	if p.Multipart() {
		for _, c := range p.Parts {
			writeStructure(out, c, extended)
		}
		out.Raw(" ")
		out.String(p.Subtype)
		if extended {
			out.Raw(" ")
			writeParams(out, p.Params)
			writeExtension(out, p)
		}
		out.Raw(")")
		return
	}
	out.String(p.Type)
	out.Raw(" ")
	out.String(p.Subtype)
	out.Raw(" ")
	writeParams(out, p.Params)
	out.Raw(" ")
	writeField(out, p.Fields, "content-id")
	out.Raw(" ")
	writeField(out, p.Fields, "content-description")
	out.Raw(" ")
	encoding := p.Fields["content-transfer-encoding"]
	if encoding == "" {
		encoding = "7bit"
	}
	out.String(encoding)
	out.Raw(" ")
	out.Number(uint64(p.BodyLen))
	switch {
	case p.Message != nil:
		out.Raw(" ")
		writeEnvelope(out, p.Message.Fields)
		out.Raw(" ")
		writeStructure(out, p.Message, extended)
		out.Raw(" ")
		out.Number(uint64(p.Lines))
	case p.Type == "text":
		out.Raw(" ")
		out.Number(uint64(p.Lines))
	}
	if extended {
		out.Raw(" ")
		writeField(out, p.Fields, "content-md5")
		writeExtension(out, p)
	}
	out.Raw(")")
}

func writeParams(out *wire.Writer, params map[string]string) {
	if len(params) == 0 {
		out.Raw("NIL")
		return
	}
	out.Raw("(")
	for i, name := range slices.Sorted(maps.Keys(params)) {
		if i > 0 {
			out.Raw(" ")
		}
		out.String(name)
		out.Raw(" ")
		out.String(params[name])
	}
	out.Raw(")")
}

// writeExtension writes disposition, language and location.
func writeExtension(out *wire.Writer, p *mime.Part) {
	out.Raw(" ")
	kind, params, err := stdmime.ParseMediaType(p.Fields["content-disposition"])
	if kind == "" || err != nil && err != stdmime.ErrInvalidMediaParameter {
		out.Raw("NIL")
	} else {
		out.Raw("(")
		out.String(kind)
		out.Raw(" ")
		writeParams(out, params)
		out.Raw(")")
	}
	out.Raw(" ")
	writeField(out, p.Fields, "content-language")
	out.Raw(" ")
	writeField(out, p.Fields, "content-location")
}
