package storetest

import (
	"strings"
	"time"

	"barid/storage"
)

// A token that the push gateway knows no more goes alone, and stays gone.
func removeToken(e *env) {
	a := e.login("alice")
	set := func(v string) {
		e.must(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: []byte(v)})
	}
	for _, v := range []string{"1111", "2222", "3333"} {
		set(v)
	}
	e.must(storage.RemoveToken{Account: a, Token: "2222", SetBy: time.Now()})
	e.must(storage.RemoveToken{Account: a, Token: "no such token"})
	for range 2 {
		same(e.t, "tokens", e.values(a, "INBOX", token), "1111", "3333")
		e.reopen()
	}
	// Its device has set it since.
	e.must(storage.RemoveToken{Account: a, Token: "1111", SetBy: time.Now().Add(-time.Hour)})
	same(e.t, "tokens", e.values(a, "INBOX", token), "1111", "3333")
	e.must(storage.RemoveToken{Account: a, Token: "1111"})
	set("2222")
	for range 2 {
		same(e.t, "tokens", e.values(a, "INBOX", token), "3333", "2222")
		e.reopen()
	}
	e.fails(storage.RemoveToken{Account: storage.Account{Address: address("nobody")}, Token: "1111"}, storage.ErrNoAccount)
}

// What is no token is refused, so that the list of them can be told with
// spaces between, and a request with one has one line.
func badTokens(e *env) {
	a := e.login("alice")
	for _, bad := range []string{
		"", "with space", "with\nline", "with\rline", "tab\t", `quo"te`, `back\slash`, "nul\x00", "del\x7f", "umläut", "\xff",
		strings.Repeat("x", 4097),
	} {
		e.fails(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: []byte(bad)}, storage.ErrEntry)
	}
	good := strings.Repeat("x", 4096)
	e.must(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: []byte(good)})
	e.must(storage.SetEntry{Account: a, Mailbox: "INBOX", Name: token, Value: []byte("webpush:https://push.test/a|b_-=|c!")})
	same(e.t, "tokens", e.values(a, "INBOX", token), good, "webpush:https://push.test/a|b_-=|c!")
}
