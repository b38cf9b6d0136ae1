package receive

import (
	"barid/smtp"
	"barid/smtp/intake"
)

// isRole tells whether an address is one that every domain has to have
// (RFC 2142), which no account is.
func isRole(a smtp.Address) bool { return a.LocalPart == "postmaster" || a.LocalPart == "abuse" }

// forRole gives the account that the mail for a role goes to: the contact,
// when it is an account of ours. Other addresses stay as they are.
func (s *Server) forRole(to smtp.Address) smtp.Address {
	if c := s.cfg.Contact; isRole(to) && c.Domain == s.cfg.Domain {
		return c.Fold().WithoutTag()
	}
	return to
}

// noMailbox is the reply for a role whose mail goes nowhere here, nil for all
// else.
func (s *Server) noMailbox(to smtp.Address) *smtp.Reply {
	switch c := s.cfg.Contact; {
	case !isRole(to) || to == c.Fold():
		return nil
	case c.IsZero():
		return intake.NoAccount(to)
	default:
		// RFC 5321 section 3.4
		return smtp.NewReply(551, "5.1.6", "<%s>: not here, please write to <%s>", to.Wire(), c.Wire())
	}
}
