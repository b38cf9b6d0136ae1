package imap

import (
	"bytes"
	"errors"
	"io"
	stdmime "mime"
	"strings"

	"golang.org/x/text/encoding/htmlindex"

	"barid/internal/mime"
)

// words gives what SEARCH looks through for BODY: the text of the message as
// its reader sees it, in lower case. That is all text parts without their
// transfer encoding and in UTF-8, and the headers of all parts and of messages
// inside. Parts that are no text are not looked through: nobody means to find
// a word in the base64 of a picture.
//
// No more than searchBody octets of the message are looked at.
func (b *messageBody) words() ([]byte, error) {
	size := min(b.content.Size(), searchBody)
	root, err := mime.Parse(b.content, size)
	if err != nil {
		return nil, err
	}
	w := words{body: b}
	w.part(root, false)
	return w.out.Bytes(), w.err
}

// words collects.
type words struct {
	body *messageBody
	out  bytes.Buffer
	err  error // of the content
}

func (w *words) part(p *mime.Part, header bool) {
	if w.err != nil {
		return
	}
	if header {
		w.header(p)
	}
	switch {
	case p.Message != nil:
		w.part(p.Message, true)
	case p.Type == "text":
		w.text(p)
	}
	for _, sub := range p.Parts {
		w.part(sub, true)
	}
}

// header adds the fields of a part, each a line.
func (w *words) header(p *mime.Part) {
	head := make([]byte, min(p.HeaderLen, mime.MaxHeader))
	if _, err := w.body.content.ReadAt(head, p.Header); err != nil && err != io.EOF {
		w.err = err
		return
	}
	eachField(head, func(_ string, field []byte) { w.add(decoded(string(field))) })
}

// text adds the text of a part. What does not keep to its encoding is added as
// far as it does.
func (w *words) text(p *mime.Part) {
	encoded := plainPart(w.body, p)
	r, err := encoded.reader()
	if err != nil {
		return
	}
	text, err := io.ReadAll(io.LimitReader(r, searchBody))
	if err != nil && !errors.Is(err, errEncoding) {
		w.err = err
		return
	}
	w.add(inUTF8(p.Params["charset"], text))
}

func (w *words) add(text string) {
	w.out.WriteString(strings.ToLower(text))
	w.out.WriteByte('\n') // nothing is found across two pieces
}

// inUTF8 gives text of a charset in UTF-8; of one that nobody knows as it is.
func inUTF8(charset string, text []byte) string {
	switch strings.ToLower(charset) {
	case "", "utf-8", "us-ascii":
		return string(text)
	}
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return string(text)
	}
	out, err := enc.NewDecoder().Bytes(text)
	if err != nil {
		return string(text)
	}
	return string(out)
}

// wordDecoder undoes RFC 2047, of every charset there is.
var wordDecoder = stdmime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return enc.NewDecoder().Reader(r), nil
}}
