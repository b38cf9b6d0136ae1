package imap

import "barid/imap/wire"

// quotaRoot is the name of the one quota root of each account.
const quotaRoot = "User quota"

func (s *session) getQuotaRoot(c *wire.Command) (string, error) {
	c.SP()
	name := c.Mailbox()
	if err := c.End(); err != nil {
		return noReply, err
	}
	out := s.writer()
	out.Raw("* QUOTAROOT ")
	s.writeName(name)
	out.Raw(" ")
	out.String(quotaRoot)
	out.EOL()
	return "OK Getquotaroot completed", s.quotaLine()
}

func (s *session) getQuota(c *wire.Command) (string, error) {
	c.SP()
	name := c.AString()
	if err := c.End(); err != nil {
		return noReply, err
	}
	if name != quotaRoot {
		return noReply, refusal("[NONEXISTENT] No such quota root")
	}
	return "OK Getquota completed", s.quotaLine()
}

// quotaLine tells the use of the quota, in units of 1024 octets (RFC 9208).
func (s *session) quotaLine() error {
	u, err := s.sv.cfg.Store.Usage(s.ctx, s.account)
	if err != nil {
		return fault(err)
	}
	out := s.writer()
	out.Raw("* QUOTA ")
	out.String(quotaRoot)
	out.Raw(" (")
	if u.MaxOctets > 0 {
		out.Raw("STORAGE ")
		out.Number(uint64(u.Octets+1023) / 1024)
		out.Raw(" ")
		out.Number(uint64(u.MaxOctets) / 1024)
	}
	out.Raw(")\r\n")
	return nil
}

// setQuota refuses SETQUOTA: quotas are the operator's.
func (s *session) setQuota(c *wire.Command) (string, error) {
	c.SP()
	c.AString()
	c.SP()
	c.List(func() {
		c.Atom()
		c.SP()
		c.Number64()
	})
	if err := c.End(); err != nil {
		return noReply, err
	}
	return noReply, refusal("[NOPERM] Quotas cannot be changed")
}
