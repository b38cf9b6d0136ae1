package intake

import (
	"errors"
	"io"

	"barid/smtp"
	"barid/smtp/header"
)

// Judge sees content as it arrives and says at the end whether it may pass.
type Judge interface {
	// Write takes the next octets. It never fails; doubt is for Verdict.
	io.Writer
	// Verdict is asked once all content was written. Nil lets it pass.
	Verdict() *smtp.Reply
}

// Judges are asked in their order; the first objection counts. This is the
// one place through which all content goes.
type Judges []Judge

// Copy moves content into the draft, past every judge. A header that the
// draft's editor finds too big is for the judges to refuse, once all is read.
func (js Judges) Copy(draft io.Writer, content io.Reader) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := content.Read(buf)
		for _, j := range js {
			j.Write(buf[:n])
		}
		switch _, err := draft.Write(buf[:n]); {
		case errors.Is(err, header.ErrTooBig):
			draft = io.Discard
		case err != nil:
			return StoreReply("write a draft", err)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Verdict gives the first objection, or nil.
func (js Judges) Verdict() *smtp.Reply {
	for _, j := range js {
		if r := j.Verdict(); r != nil {
			return r
		}
	}
	return nil
}

// Author is a Judge that demands an author: exactly one From with one
// address.
type Author struct {
	head    header.Head
	fields  []header.Field
	address smtp.Address
}

// Write takes the next octets. It never fails.
func (a *Author) Write(p []byte) (int, error) { return a.head.Write(p) }

// Verdict objects to content without an author, or with several.
func (a *Author) Verdict() *smtp.Reply {
	var err error
	if a.fields, err = a.head.Fields(); err == nil {
		a.address, err = header.From(a.fields)
	}
	switch {
	case errors.Is(err, header.ErrFrom):
		return smtp.NewReply(500, "", "Invalid FROM header: %s", err)
	case err != nil:
		return smtp.NewReply(500, "", "Failed to parse message: %s", err)
	}
	return nil
}

// Address is the author, as spelled; Verdict must have let it pass.
func (a *Author) Address() smtp.Address { return a.address }

// Fields are those of the header; Verdict must have let it pass.
func (a *Author) Fields() []header.Field { return a.fields }

// Head is the header as it came, without the empty line.
func (a *Author) Head() []byte { return a.head.Raw() }
