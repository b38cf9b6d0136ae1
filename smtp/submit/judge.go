package submit

import (
	"barid/smtp"
	"barid/smtp/filter"
	"barid/smtp/intake"
)

// fromJudge demands that the author is the reverse-path.
type fromJudge struct {
	intake.Author
	from smtp.Path
}

func newFromJudge(from smtp.Path) *fromJudge { return &fromJudge{from: from} }

func (j *fromJudge) Verdict() *smtp.Reply {
	if r := j.Author.Verdict(); r != nil {
		return r
	}
	if author := j.Address(); author.Fold() != j.from.Address.Fold() {
		return smtp.NewReply(500, "", "Invalid FROM <%s> for %s", author.Wire(), j.from.Wire())
	}
	return nil
}

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
	return intake.NeedEncryption
}
