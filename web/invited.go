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
func (s *site) stranger(who Registration, token string) (status int, reason string) {
	switch {
	case who == Closed:
		return http.StatusForbidden, closed
	case who == ByInvitation && token == "":
		return http.StatusForbidden, byInvitation
	}
	return http.StatusOK, ""
}

// reserve lets an address be born for a token.
func (s *site) reserve(token, address string) (status int, reason string) {
	a, err := smtp.ParseAddress(address)
	if err == nil {
		err = s.cfg.Invites.Reserve(token, a)
	}
	return s.sayInvite(err)
}

// sayInvite says what is wrong with an invitation to the person in front of
// the client.
func (s *site) sayInvite(err error) (status int, reason string) {
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.Is(err, invites.ErrUnknown):
		return http.StatusForbidden, "This invitation is not valid."
	case errors.Is(err, invites.ErrExpired):
		return http.StatusForbidden, "This invitation has expired."
	case errors.Is(err, invites.ErrUsedUp):
		return http.StatusForbidden, "This invitation has been used up."
	case errors.Is(err, invites.ErrBusy):
		return http.StatusForbidden, "This invitation is just being used. Please try again in a minute."
	case errors.Is(err, invites.ErrFull):
		return http.StatusServiceUnavailable, "Too many new profiles are being made. Please try again tomorrow."
	}
	s.cfg.Logger.Error("an invitation could not be used", "part", "web", "err", err)
	return http.StatusInternalServerError, "This relay has a fault of its own. Please try again later."
}

// serveLanding shows the page of the relay, or that of an invitation.
func (s *site) serveLanding(w http.ResponseWriter, r *http.Request) {
	who, token := s.cfg.Registration(), tokenOf(r)
	if who != ByInvitation || token == "" {
		s.landing[who].serve(w, r)
		return
	}
	if !allowed(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	if status, reason := s.sayInvite(s.cfg.Invites.Valid(token)); status != http.StatusOK {
		s.pages.write(view{Closed: true, Sorry: reason}, status, 0).serve(w, r)
		return
	}
	s.pages.invited(token).serve(w, r)
}
