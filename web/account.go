package web

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"

	"barid/internal/ratelimit"
)

// offer is a new address with its password. Nobody is asked whether the name
// is taken: with 9 characters and a million accounts that is one offer in a
// hundred million, and it only fails to log in.
type offer struct {
	Address  string `json:"email"`
	Password string `json:"password"`
	LoginURI string `json:"dclogin_url,omitempty"` // self-signed relays only
}

const (
	nameLetters = "abcdefghijklmnopqrstuvwxyz0123456789"
	// passwordLetters are all that ASCII can print, without the space.
	passwordLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + nameLetters + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// newOffer makes one.
func (s *Site) newOffer() (offer, error) {
	name, err := draw(s.cfg.Rand, nameLetters, s.cfg.UsernameLength)
	if err != nil {
		return offer{}, fmt.Errorf("draw a name: %w", err)
	}
	password, err := draw(s.cfg.Rand, passwordLetters, s.cfg.PasswordMin+3)
	if err != nil {
		return offer{}, fmt.Errorf("draw a password: %w", err)
	}
	o := offer{Address: name + "@" + s.cfg.Domain, Password: password}
	if s.cfg.SelfSigned {
		o.LoginURI = LoginURI(o.Address, o.Password, s.login)
	}
	return o, nil
}

// draw picks n letters, each as likely as any other: octets past the last
// multiple of the number of letters are thrown away.
func draw(from io.Reader, letters string, n int) (string, error) {
	fair := 256 - 256%len(letters)
	out := make([]byte, 0, n)
	octets := make([]byte, n)
	for {
		if _, err := io.ReadFull(from, octets); err != nil {
			return "", err
		}
		for _, c := range octets {
			if int(c) < fair && len(out) < n {
				out = append(out, letters[int(c)%len(letters)])
			}
		}
		if len(out) == n {
			return string(out), nil
		}
	}
}

// serveNew answers clients with a new account, and browsers with a link that
// makes the client ask. Browsers cannot be sent on to a self-signed relay, so
// there a GET is answered like a POST.
func (s *Site) serveNew(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodPost, http.MethodGet, http.MethodHead) {
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if who := s.cfg.Registration(); r.Method != http.MethodPost && !s.cfg.SelfSigned && who != Closed {
		token := ""
		if who == ByInvitation {
			token = tokenOf(r)
		}
		redirect(w, accountLink(s.cfg.Domain, token))
		return
	}
	o, status, why := s.take(w, r)
	if why != "" {
		l, _ := s.languageOf(r)
		refuse(w, status, l.words[string(why)])
		return
	}
	writeJSON(w, http.StatusOK, o)
}

// serveNewPage shows a new account to a browser, as link and QR code.
func (s *Site) serveNewPage(w http.ResponseWriter, r *http.Request) {
	if !s.cfg.SelfSigned {
		s.notFound(w, r)
		return
	}
	if !allowed(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	o, status, why := s.take(w, r)
	s.forOne(r, func(l *language) card { return freshCard(l, o, s.cfg.Registration(), why) }, status, "").serve(w, r)
}

// reason is why somebody gets no account: the key of words for the person in
// front of the client. Empty is no reason against it.
type reason string

// The reasons.
const (
	closed         reason = "sorry.closed"
	byInvitation   reason = "sorry.invitation"
	tooMany        reason = "sorry.rate"
	ownFault       reason = "sorry.fault"
	inviteUnknown  reason = "sorry.unknown"
	inviteExpired  reason = "sorry.expired"
	inviteUsed     reason = "sorry.used"
	inviteBusy     reason = "sorry.busy"
	invitesTooMany reason = "sorry.full"
)

// take makes an offer when the client's network may have one, or says with
// what status and why there is none.
func (s *Site) take(w http.ResponseWriter, r *http.Request) (o offer, status int, why reason) {
	who, token := s.cfg.Registration(), tokenOf(r)
	if status, why := s.stranger(who, token); why != "" {
		return o, status, why
	}
	if ok, _ := s.offers.Allow(ratelimit.Network(s.cfg.Client(r))); !ok {
		s.refused.Inc()
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(1/s.cfg.NewPerSecond))))
		return o, http.StatusTooManyRequests, tooMany
	}
	o, err := s.newOffer()
	if err != nil {
		s.cfg.Logger.Error("no new account could be offered", "part", "web", "err", err)
		return o, http.StatusInternalServerError, ownFault
	}
	if who == ByInvitation {
		if status, why := s.reserve(token, o.Address); why != "" {
			return offer{}, status, why
		}
	}
	s.offered.Inc()
	return o, http.StatusOK, ""
}

// writeJSON leaves "&" and its like as they are, for the eyes of whoever
// opens the answer in a browser.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // a client that left is nobody's fault
}

// NewLoginURI gives a dclogin: link for a new account of a self-signed relay,
// as /new gives it.
func NewLoginURI(cfg Config) (string, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return "", fmt.Errorf("login link: %w", err)
	}
	s := &Site{cfg: cfg, login: loginOptions(cfg)}
	o, err := s.newOffer()
	return LoginURI(o.Address, o.Password, s.login), err
}
