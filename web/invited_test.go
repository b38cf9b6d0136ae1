package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"barid/internal/invites"
	"barid/smtp"
)

// guests has invitations: for each token what is wrong with it, if anything.
type guests struct {
	tokens   map[string]error
	reserved []smtp.Address
}

func (g *guests) Valid(token string) error {
	err, ok := g.tokens[token]
	if !ok {
		return invites.ErrUnknown
	}
	return err
}

func (g *guests) Reserve(token string, a smtp.Address) error {
	if err := g.Valid(token); err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	g.reserved = append(g.reserved, a)
	return nil
}

// byToken is a relay whose one good token is GOOD1.
func byToken(selfSigned bool) (*guests, http.Handler) {
	g := &guests{tokens: map[string]error{
		"GOOD1": nil, "USED": invites.ErrUsedUp, "OLD": invites.ErrExpired, "FULL": invites.ErrFull, "BUSY": invites.ErrBusy, "FAULT": errors.New("the disk"),
	}}
	return g, made(Config{Domain: "relay.test", SelfSigned: selfSigned, Registration: always(ByInvitation), Invites: g})
}

// Who has a token gets an address that is reserved before it is given; who
// has none, or a bad one, gets words that the app can show.
func TestANewAccountWantsAToken(t *testing.T) {
	for _, selfSigned := range []bool{false, true} {
		g, h := byToken(selfSigned)
		for target, want := range map[string]struct {
			code   int
			reason string
		}{
			"/new":                              {403, english(byInvitation)},
			"/new?t=":                           {403, english(byInvitation)},
			"/new?t=a%20b":                      {403, english(byInvitation)},
			"/new?t=" + strings.Repeat("A", 65): {403, english(byInvitation)},
			"/new?x=GOOD1":                      {403, english(byInvitation)},
			"/new?t=WRONG":                      {403, "This invitation is not valid."},
			"/new?t=good1":                      {403, "This invitation is not valid."},
			"/new?t=USED":                       {403, "This invitation has been used up."},
			"/new?t=OLD":                        {403, "This invitation has expired."},
			"/new?t=BUSY":                       {403, "This invitation is just being used. Please try again in a minute."},
			"/new?t=FULL":                       {503, "Too many new profiles are being made. Please try again tomorrow."},
			"/new?t=FAULT":                      {500, "This relay has a fault of its own. Please try again later."},
		} {
			w := get(h, "POST", target)
			var answer struct{ Reason string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != want.code || answer.Reason != want.reason {
				t.Errorf("%s: %d %q, want %d %q (%v)", target, w.Code, answer.Reason, want.code, want.reason, err)
			}
		}
		if len(g.reserved) != 0 {
			t.Errorf("reserved %v", g.reserved)
		}
		w := get(h, "POST", "/new?t=GOOD1")
		var o offer
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || w.Code != 200 || len(g.reserved) != 1 || g.reserved[0].Wire() != o.Address {
			t.Errorf("%d %s, reserved %d (%v)", w.Code, w.Body, len(g.reserved), err)
		}
	}
}

// A core sends nothing but the line and the host, with the token in it.
func TestATokenInTheCoresOwnForm(t *testing.T) {
	_, h := byToken(false)
	for _, form := range []string{"POST /new?t=GOOD1 HTTP/1.1\r\nhost: relay.test\r\n\r\n", "POST https://relay.test/new?t=GOOD1 HTTP/1.1\r\nhost: relay.test\r\n\r\n"} {
		if answer := raw(t, h, form); answer.StatusCode != 200 {
			t.Errorf("%q: %d", form, answer.StatusCode)
		}
	}
}

// Bad tokens cost what good ones cost, so nobody guesses many.
func TestGuessingATokenIsSlow(t *testing.T) {
	g := &guests{}
	h := made(Config{Domain: "relay.test", Registration: always(ByInvitation), Invites: g, NewBurst: 3, NewPerSecond: 0.001,
		Client: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }})
	for i, want := range []int{403, 403, 403, 429} {
		if w := get(h, "POST", fmt.Sprint("/new?t=GUESS", i)); w.Code != want {
			t.Errorf("guess %d: %d", i+1, w.Code)
		}
	}
}

// A browser is led to the app with its token, which is never carried on where
// it is none.
func TestABrowserTakesItsTokenAlong(t *testing.T) {
	_, h := byToken(false)
	for target, want := range map[string]string{
		"/new?t=GOOD1":        "dcaccount:https://relay.test/new?t=GOOD1",
		"/new":                "dcaccount:https://relay.test/new",
		"/new?t=x%22%3E%3Cb":  "dcaccount:https://relay.test/new",
		"/new?t=GOOD1%0d%0aX": "dcaccount:https://relay.test/new",
	} {
		if w := get(h, "GET", target); w.Code != 301 || w.Header().Get("Location") != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Header().Get("Location"))
		}
	}
	if w := get(made(Config{Domain: "relay.test"}), "GET", "/new?t=GOOD1"); w.Header().Get("Location") != "dcaccount:https://relay.test/new" {
		t.Errorf("where anybody may come: %s", w.Header().Get("Location"))
	}
}

// The page shows an invitation to who has one, and takes no use by being
// looked at; others read that they need one.
func TestThePageOfAnInvitation(t *testing.T) {
	for _, c := range []struct {
		selfSigned bool
		target     string
		code       int
		has        []string
	}{
		{false, "/", 200, []string{english(byInvitation)}},
		{true, "/", 200, []string{english(byInvitation)}},
		{false, "/?t=GOOD1", 200, []string{`href="dcaccount:https://relay.test/new?t=GOOD1"`, `<svg class="qr"`}},
		{true, "/?t=GOOD1", 200, []string{`href="/new.html?t=GOOD1"`, "Make my invitation"}},
		{false, "/?t=USED", 403, []string{"This invitation has been used up."}},
		{true, "/?t=WRONG", 403, []string{"This invitation is not valid."}},
		{true, "/new.html", 403, []string{english(byInvitation)}},
		{true, "/new.html?t=OLD", 403, []string{"This invitation has expired."}},
		{false, "/qr-chatmail-invite-relay.test.png", 404, nil},
		{false, "/?t=<script>", 200, []string{english(byInvitation)}},
	} {
		g, h := byToken(c.selfSigned)
		w := get(h, "GET", strings.NewReplacer("<", "%3C", ">", "%3E").Replace(c.target))
		page := w.Body.String()
		for _, want := range c.has {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %s:\n%s", c.target, want, page)
			}
		}
		if w.Code != c.code || strings.Contains(page, "<script") || strings.Contains(page, "Zgotmpl") || len(g.reserved) != 0 {
			t.Errorf("%s: %d, reserved %d", c.target, w.Code, len(g.reserved))
		}
		if strings.Contains(c.target, "t=GOOD1") && w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %s", c.target, w.Header().Get("Cache-Control"))
		}
	}
	g, h := byToken(true)
	w := get(h, "GET", "/new.html?t=GOOD1")
	if page := w.Body.String(); w.Code != 200 || !strings.Contains(page, `href="dclogin:`) || strings.Contains(page, "Make another") || len(g.reserved) != 1 {
		t.Errorf("%d, reserved %d\n%s", w.Code, len(g.reserved), page)
	}
}

// Who may come changes while the relay runs, and every page follows.
func TestPagesFollowRegistration(t *testing.T) {
	now := Open
	g := &guests{tokens: map[string]error{"GOOD1": nil}}
	h := made(Config{Domain: "relay.test", Registration: func() Registration { return now }, Invites: g})
	for _, step := range []struct {
		now                 Registration
		post, token, qr, at int
		says                string
	}{
		{Open, 200, 200, 200, 200, "Create a profile"},
		{Closed, 403, 403, 404, 200, english(closed)},
		{ByInvitation, 403, 200, 404, 200, english(byInvitation)},
		{Open, 200, 200, 200, 200, "Create a profile"},
	} {
		now = step.now
		page := get(h, "GET", "/")
		if got := [...]int{get(h, "POST", "/new").Code, get(h, "POST", "/new?t=GOOD1").Code, get(h, "GET", "/qr-chatmail-invite-relay.test.png").Code, page.Code}; got != [...]int{step.post, step.token, step.qr, step.at} {
			t.Errorf("%d: %v", step.now, got)
		}
		if !strings.Contains(page.Body.String(), step.says) {
			t.Errorf("%d: the page does not say %q", step.now, step.says)
		}
	}
	h = made(Config{Domain: "relay.test", Registration: always(ByInvitation)})
	if w := get(h, "POST", "/new?t=GOOD1"); w.Code != 403 {
		t.Errorf("without a book: %d", w.Code)
	}
}

func TestInviteURI(t *testing.T) {
	for domain, want := range map[string][2]string{
		"relay.test":  {"DCACCOUNT:https://relay.test/new?t=ABC", "https://relay.test/?t=ABC"},
		"[192.0.2.7]": {"DCACCOUNT:https://192.0.2.7/new?t=ABC", "https://192.0.2.7/?t=ABC"},
	} {
		if got := [2]string{InviteURI(domain, "ABC"), InvitePage(domain, "ABC")}; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
