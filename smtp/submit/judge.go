package submit

import (
	"errors"
	"io"

	"barid/smtp"
	"barid/smtp/filter"
	"barid/smtp/header"
)

// judge sees content as it arrives and says at the end whether it may pass.
type judge interface {
	// Write takes the next octets. It never fails; doubt is for Verdict.
	io.Writer
	// Verdict is asked once all content was written. Nil lets it pass.
	Verdict() *smtp.Reply
}

// judges are asked in their order; the first objection counts. This is the
// one place through which all content goes.
type judges []judge

// copy moves content into the draft, past every judge. A header that the
// draft's editor finds too big is for the judges to refuse, once all is read.
func (js judges) copy(draft io.Writer, content io.Reader) error {
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
			return storeReply("write a draft", err)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (js judges) verdict() *smtp.Reply {
	for _, j := range js {
		if r := j.Verdict(); r != nil {
			return r
		}
	}
	return nil
}

// fromJudge demands that the author is the reverse-path.
type fromJudge struct {
	head header.Head
	from smtp.Path
}

func newFromJudge(from smtp.Path) *fromJudge { return &fromJudge{from: from} }

func (j *fromJudge) Write(p []byte) (int, error) { return j.head.Write(p) }

func (j *fromJudge) Verdict() *smtp.Reply {
	fields, err := j.head.Fields()
	if err != nil {
		return smtp.NewReply(500, "", "Failed to parse message: %s", err)
	}
	author, err := header.From(fields)
	switch {
	case errors.Is(err, header.ErrFrom):
		return smtp.NewReply(500, "", "Invalid FROM header: %s", err)
	case err != nil:
		return smtp.NewReply(500, "", "Failed to parse message: %s", err)
	case author.Fold() != j.from.Address.Fold():
		return smtp.NewReply(500, "", "Invalid FROM <%s> for %s", author.Wire(), j.from.Wire())
	}
	return nil
}

// needEncryption refuses content in the clear; the behaviour specification
// fixes code and words, which clients look for.
var needEncryption = smtp.NewReply(523, "", "Encryption Needed: Invalid Unencrypted Mail")

// cipherJudge demands that the content is encrypted, or one of the few
// messages without which encryption cannot begin.
type cipherJudge struct {
	*filter.Walk
	srv *Server
}

func (j cipherJudge) Verdict() *smtp.Reply {
	v := j.Walk.Verdict()
	if v.Kind == filter.Encrypted {
		j.srv.encrypted.Inc()
	} else {
		j.srv.unencrypted.Inc()
	}
	if v.Pass() {
		return nil
	}
	j.srv.rejected.WithLabelValues(v.Why.String()).Inc()
	return needEncryption
}
