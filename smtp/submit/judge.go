package submit

import (
	"errors"
	"io"

	"barid/smtp"
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

// copy moves content into the draft, past every judge.
func (js judges) copy(draft io.Writer, content io.Reader) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := content.Read(buf)
		for _, j := range js {
			j.Write(buf[:n])
		}
		if _, err := draft.Write(buf[:n]); err != nil {
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
