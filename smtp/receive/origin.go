package receive

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"barid/dkim"
	"barid/smtp"
	"barid/smtp/intake"
)

// What a peer reads whose message nobody vouches for. The behaviour
// specification fixes the words of the first two.
var (
	replyUnsigned    = smtp.NewReply(554, "5.7.1", "No DKIM signature found")
	replyInvalid     = smtp.NewReply(554, "5.7.1", "No valid DKIM signature found")
	replyMalformed   = smtp.NewReply(554, "", "Malformed data")
	replyBigHeader   = smtp.NewReply(554, "5.6.0", "Header is too big to verify a DKIM signature")
	replyNoKey       = smtp.NewReply(451, "4.7.5", "DKIM key not available for now, try again later")
	replyLiteral     = smtp.NewReply(550, "5.7.1", "An author at an address literal must send from that address")
	replyNoLiteral   = smtp.NewReply(550, "5.7.1", "Authors at address literals are not taken here")
	replyUnderscores = smtp.NewReply(550, "5.7.1", "Authors at domains without a public certificate are not taken here")
)

// judgeOrigin tells whether it is proven that the message comes from the
// domain of its author. What is neither proven nor to be taken without is an
// error.
//
// The draft has the body that the check saw. Nothing is read of it, and no key
// looked up, before all that needs neither was judged.
func (t *transaction) judgeOrigin(ctx context.Context, domain string, check *dkim.Check, draft dkim.Content) (proven bool, err error) {
	s := t.srv
	if strings.HasPrefix(domain, "[") {
		return t.judgeLiteral(domain)
	}
	if s.cfg.NoUnderscores && (strings.HasPrefix(domain, "_") || strings.Contains(domain, "._")) {
		return false, s.refuse("underscore", replyUnderscores)
	}
	err = check.Verdict(ctx, domain, draft)
	if err == nil {
		return true, nil
	}
	s.log.Debug("origin not proven", "domain", domain, "error", err)
	switch {
	case errors.Is(err, dkim.ErrContent):
		return false, intake.StoreReply("read a draft", err)
	case errors.Is(err, dkim.ErrUnsigned):
		return false, s.refuse("unsigned", replyUnsigned)
	case errors.Is(err, dkim.ErrTemporary):
		return false, s.refuse("dns", replyNoKey)
	case errors.Is(err, dkim.ErrTooBig):
		return false, s.refuse("header", replyBigHeader)
	case errors.Is(err, dkim.ErrMalformed):
		return false, s.refuse("header", replyMalformed)
	}
	return false, s.refuse("invalid", replyInvalid)
}

// judgeLiteral judges an author that nobody can sign for. What can be checked
// is that the message comes from the very address.
func (t *transaction) judgeLiteral(domain string) (proven bool, err error) {
	s := t.srv
	text := strings.TrimPrefix(strings.Trim(domain, "[]"), "ipv6:")
	literal, err := netip.ParseAddr(text)
	same := err == nil && t.client.IsValid() && t.client.Unmap().WithZone("") == literal.Unmap()
	switch {
	case s.cfg.Literals == NoLiterals:
		return false, s.refuse("literal", replyNoLiteral)
	case s.cfg.Literals == CheckedLiterals && !same:
		return false, s.refuse("literal", replyLiteral)
	}
	return same, nil
}
