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
// No more than searchBody octets of the message are looked at; encoded is how
// many of them were in fields with encoded words.
func (b *messageBody) words() (text []byte, encoded int64, err error) {
	size := min(b.content.Size(), searchBody)
	root, err := mime.Parse(b.content, size)
	if err != nil {
		return nil, 0, err
	}
	w := words{body: b}
	w.part(root, false)
	return w.out.Bytes(), w.encoded, w.err
}

// words collects.
type words struct {
	body *messageBody
	out  bytes.Buffer
	// encoded is the octets of fields with encoded words.
	encoded int64
	err     error // of the content
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
	eachField(head, func(_ string, field []byte) {
		if isEncoded(field) {
			w.encoded += int64(len(field))
		}
		w.add(decoded(string(field)))
	})
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

// wordDecoder undoes RFC 2047, of every charset there is. Words are short, and
// may be many: a stream for each would cost a hundred times their length.
var wordDecoder = stdmime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	word, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	text, err := enc.NewDecoder().Bytes(word)
	return bytes.NewReader(text), err
}}
