package web

import (
	"errors"
	"net/http"

	"barid/internal/invites"
	"barid/smtp"
)

// tokenOf gives the token of a request, or none: what is no token is not
// carried on into a page or a link.
func tokenOf(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	token := r.URL.Query().Get("t")
	if len(token) > 64 {
		return ""
	}
	for _, c := range []byte(token) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return token
}

// stranger tells why somebody gets no account, whatever he has: 200 when he
// may.
func (s *Site) stranger(who Registration, token string) (status int, why reason) {
	switch {
	case who == Closed:
		return http.StatusForbidden, closed
	case who == ByInvitation && token == "":
		return http.StatusForbidden, byInvitation
	}
	return http.StatusOK, ""
}

// reserve lets an address be born for a token.
func (s *Site) reserve(token, address string) (status int, why reason) {
	a, err := smtp.ParseAddress(address)
	if err == nil {
		err = s.cfg.Invites.Reserve(token, a)
	}
	return s.sayInvite(err)
}

// sayInvite says what is wrong with an invitation to the person in front of
// the client.
func (s *Site) sayInvite(err error) (status int, why reason) {
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.Is(err, invites.ErrUnknown):
		return http.StatusForbidden, inviteUnknown
	case errors.Is(err, invites.ErrExpired):
		return http.StatusForbidden, inviteExpired
	case errors.Is(err, invites.ErrUsedUp):
		return http.StatusForbidden, inviteUsed
	case errors.Is(err, invites.ErrBusy):
		return http.StatusForbidden, inviteBusy
	case errors.Is(err, invites.ErrFull):
		return http.StatusServiceUnavailable, invitesTooMany
	}
	s.cfg.Logger.Error("an invitation could not be used", "part", "web", "err", err)
	return http.StatusInternalServerError, ownFault
}

// serveLanding shows the page of the relay, or that of an invitation.
func (s *Site) serveLanding(w http.ResponseWriter, r *http.Request) {
	who, token := s.cfg.Registration(), tokenOf(r)
	if who != ByInvitation || token == "" {
		l, chosen := s.languageOf(r)
		s.edition.Load().page(pageKey{homePage, l.tag, chosen, who}).serve(w, r)
		return
	}
	if !allowed(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	if status, why := s.sayInvite(s.cfg.Invites.Valid(token)); why != "" {
		s.forOne(r, func(*language) card { return card{Closed: true, Sorry: why} }, status, "").serve(w, r)
		return
	}
	s.forOne(r, func(l *language) card { return s.invitedCard(l, token) }, http.StatusOK, token).serve(w, r)
}
