package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The members of the file that we read.
const (
	tokensMember  = "devicetoken"
	entriesMember = "entries"
)

// member is a member of the file that we do not read.
type member struct {
	name  string
	value json.RawMessage
}

// Read reads a file. It always gives a usable Metadata: with ErrCorrupt an
// empty one. Tokens in a list get the time now; tokens and entries beyond the
// bounds are passed over. Other errors are those of r.
func Read(r io.Reader, now time.Time) (*Metadata, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return &Metadata{}, fmt.Errorf("read metadata.json: %w", err)
	}
	if len(text) > maxFileSize {
		return &Metadata{}, fmt.Errorf("%w: larger than %d octets", ErrCorrupt, maxFileSize)
	}
	m := &Metadata{}
	if err := m.parse(text, now.Truncate(time.Second)); err != nil {
		// The text of a JSON error may quote the file; only its kind is told.
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return &Metadata{}, fmt.Errorf("%w: no JSON at octet %d", ErrCorrupt, syntax.Offset)
		}
		return &Metadata{}, fmt.Errorf("%w: not the form it should have", ErrCorrupt)
	}
	return m, nil
}

func (m *Metadata) parse(text []byte, now time.Time) error {
	if !json.Valid(text) { // refuses what follows the object, too
		return json.Unmarshal(text, new(json.RawMessage))
	}
	other := 0
	return eachMember(text, func(name string, value json.RawMessage) error {
		switch name {
		case tokensMember:
			return m.parseTokens(value, now)
		case entriesMember:
			return eachMember(value, m.parseMailbox)
		}
		if other += len(name) + len(value); other <= maxOtherSize {
			m.other = append(m.other, member{name, value})
		}
		return nil
	})
}

func (m *Metadata) parseTokens(value json.RawMessage, now time.Time) error {
	if len(value) > 0 && value[0] == '[' {
		var list []string
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for _, token := range list {
			m.readToken(token, now)
		}
		return nil
	}
	return eachMember(value, func(token string, stamp json.RawMessage) error {
		var seconds float64
		if err := json.Unmarshal(stamp, &seconds); err != nil {
			return err
		}
		// Beyond these, time.Unix and Sub would not mean anything; they are
		// invalid as stamps all the same.
		seconds = min(max(seconds, 0), 1<<40)
		m.readToken(token, time.Unix(int64(seconds), 0))
		return nil
	})
}

// readToken takes a token from a file. A name that comes twice counts last,
// as everywhere in JSON.
func (m *Metadata) readToken(token string, set time.Time) {
	if !readableToken(token) {
		return
	}
	if i := m.token(token); i >= 0 {
		m.tokens[i].Set = set
		return
	}
	m.tokens = append(m.tokens, Token{token, set})
	m.dropOldest()
}

func (m *Metadata) parseMailbox(mailbox string, value json.RawMessage) error {
	return eachMember(value, func(name string, value json.RawMessage) error {
		var octets []byte
		if err := json.Unmarshal(value, &octets); err != nil {
			return err
		}
		if octets == nil {
			return nil
		}
		if err := m.Set(mailbox, name, octets); err != nil {
			return nil // beyond the bounds: passed over
		}
		return nil
	})
}

// eachMember calls f for the members of a JSON object in their order.
func eachMember(object []byte, f func(name string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if open, err := d.Token(); err != nil {
		return err
	} else if open != json.Delim('{') {
		return errors.New("no object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := f(name.(string), value); err != nil { // a member's name is a string
			return err
		}
	}
	return nil
}

// Write writes the file. What Read makes of it equals m.
func (m *Metadata) Write(w io.Writer) error {
	var o objectWriter
	o.begin()
	o.name(tokensMember)
	o.begin()
	for _, t := range m.tokens {
		o.name(t.Value)
		o.value(t.Set.Unix())
	}
	o.end()
	if len(m.entries) > 0 {
		o.name(entriesMember)
		m.writeEntries(&o)
	}
	for _, member := range m.other {
		o.name(member.name)
		o.raw(member.value)
	}
	o.end()
	o.text.WriteByte('\n')
	if _, err := w.Write(o.text.Bytes()); err != nil {
		return fmt.Errorf("write metadata.json: %w", err)
	}
	return nil
}

// writeEntries writes mailboxes in the order of their first entry.
func (m *Metadata) writeEntries(o *objectWriter) {
	o.begin()
	done := make(map[string]bool)
	for _, first := range m.entries {
		if done[first.mailbox] {
			continue
		}
		done[first.mailbox] = true
		o.name(first.mailbox)
		o.begin()
		for _, e := range m.Entries(first.mailbox) {
			o.name(e.Name)
			o.value(e.Value)
		}
		o.end()
	}
	o.end()
}

// objectWriter writes JSON objects with their members in the order given,
// which a map of Go would not keep.
type objectWriter struct {
	text  bytes.Buffer
	comma bool
}

func (o *objectWriter) begin() { o.text.WriteByte('{'); o.comma = false }
func (o *objectWriter) end()   { o.text.WriteByte('}'); o.comma = true }

func (o *objectWriter) name(s string) {
	if o.comma {
		o.text.WriteString(", ")
	}
	o.value(s)
	o.text.WriteString(": ")
	o.comma = false
}

// value writes a string, number or octets, which can always be written.
func (o *objectWriter) value(v any) {
	e := json.NewEncoder(&o.text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("metadata: cannot happen for strings, numbers and octets: " + err.Error())
	}
	o.text.Truncate(o.text.Len() - 1) // the encoder's line end
	o.comma = true
}

func (o *objectWriter) raw(v json.RawMessage) { o.text.Write(v); o.comma = true }
