package imap

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"barid/imap/wire"
	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/storage"
	"barid/test/transcript"
)

const loginOnDisk = `
S~ \* OK .*
C: a LOGIN alicealic@relay.test "secret of alice"
S~ a OK .*
`

// Whoever sits on the way may stretch STARTTLS to what one read takes. The
// commands behind the handshake come out of TLS all the same, not from below.
func TestNothingIsReadBelowTLS(t *testing.T) {
	cfg := serverTLS(t)
	l := newLab(t, func(c *Config) { c.TLS = cfg })
	addr := l.listen(t, netserve.Clear, nil)
	for _, n := range []int{4095, 4096, 4097, 8192} {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		p := transcript.New(t, raw)
		p.Play(t, "S~ \\* OK .*\n")
		const word = "a STARTTLS"
		io.WriteString(raw, word+strings.Repeat(" ", n-len(word)-2)+"\r\n")
		p.Play(t, "S~ a OK .*\n")
		conn := tls.Client(raw, clientTLS())
		if err := conn.Handshake(); err != nil {
			t.Fatalf("STARTTLS of %d octets: %v", n, err)
		}
		raw.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, "b NOOP\r\n")
		answer := make([]byte, 64)
		k, err := conn.Read(answer)
		if got := string(answer[:k]); got != "b OK Noop completed\r\n" {
			t.Fatalf("STARTTLS of %d octets: a command in TLS got %q, %v", n, got, err)
		}
	}
}

// A stranger's line costs no more memory than a line of his may have.
func TestLinesBeforeLoginAreShort(t *testing.T) {
	l := newLab(t)
	conn, err := net.Dial("tcp", l.listen(t, netserve.Clear, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := transcript.New(t, conn)
	p.Play(t, "S~ \\* OK .*\n")
	io.WriteString(conn, strings.Repeat("x", limitsBefore.Line+1)) // and no end
	p.Play(t, "S: * BYE Line too long\nS--\n")
}

// The UIDs of a mailbox mean nothing in another that has got its name.
func TestChangesNeverReachAMailboxOfTheSameName(t *testing.T) {
	for _, command := range []string{
		`UID STORE 1 +FLAGS (\Deleted)`, `STORE 1 FLAGS.SILENT (\Deleted)`, "UID COPY 1 INBOX", "UID MOVE 1 INBOX", "UID FETCH 1 BODY[]", "EXPUNGE", "CLOSE",
	} {
		t.Run(command, func(t *testing.T) {
			_, dial := onDisk(t)
			other := transcript.New(t, dial())
			const fill = "C\\ s APPEND x {3+}\\r\\n%s\\r\\n\nS~ s OK .*\n"
			other.Play(t, loginOnDisk+"C: c CREATE x\nS~ c OK .*\n"+fmt.Sprintf(fill, "old"))
			p := transcript.New(t, dial())
			p.Play(t, loginOnDisk+"C: b SELECT x\nS* b OK .*\n")
			other.Play(t, "C: d DELETE x\nS~ d OK .*\nC: e CREATE x\nS~ e OK .*\n"+fmt.Sprintf(fill, "new"))
			p.Play(t, "C: f "+command+"\nS: * BYE The mailbox is gone\nS--\n")
			other.Play(t, `
C: g SELECT x
S* \* 1 EXISTS
S* g OK .*
C: h FETCH 1 FLAGS
S: * 1 FETCH (FLAGS ())
S: h OK Fetch completed
C: i STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 0)
S: i OK Status completed
`)
		})
	}
}

// Not even when it got the name while the command was on its way.
func TestChangesNeverReachAMailboxOfTheSameNameInARace(t *testing.T) {
	l := newLab(t)
	for _, command := range []string{
		`UID STORE 1 +FLAGS (\Answered)`, "UID COPY 1 INBOX", "UID MOVE 1 INBOX", "UID FETCH 1 BODY[]", "EXPUNGE", "CLOSE",
	} {
		p := alice(t, l)
		fill := func() {
			l.asAlice(t, func(a storage.Account) storage.Op { return storage.CreateMailbox{Account: a, Name: "x"} })
			l.asAlice(t, func(a storage.Account) storage.Op {
				return storage.Append{Account: a, Mailbox: "x", Flags: storage.FlagDeleted, Content: contentOf("text")}
			})
		}
		end := func(a storage.Account) storage.Op { return storage.DeleteMailbox{Account: a, Name: "x"} }
		fill()
		p.Play(t, "C: b SELECT x\nS* b OK .*\n")
		l.store.mu.Lock()
		l.store.overtake = func() { l.asAlice(t, end); fill() }
		l.store.mu.Unlock()
		p.Play(t, "C: d "+command+"\nS: * BYE The mailbox is gone\nS--\n")
		alice(t, l).Play(t, `
C: g EXAMINE x
S* \* 1 EXISTS
S* g OK .*
C: h FETCH 1 FLAGS
S: * 1 FETCH (FLAGS (\Deleted))
S: h OK Fetch completed
C: i STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 0)
S: i OK Status completed
`)
		l.asAlice(t, end)
	}
}

// A mailbox that another session has deleted is no fault of ours.
func TestDeletedMailboxesAreNoFaults(t *testing.T) {
	reg := metrics.New()
	l := newLab(t, func(c *Config) { c.Metrics = reg })
	for _, command := range []string{`UID STORE 1 +FLAGS (\Seen)`, "UID EXPUNGE 1", "SEARCH ALL", "UID COPY 1 INBOX", "FETCH 1 BODY[]"} {
		p := alice(t, l)
		p.Play(t, "C: b CREATE x\nS~ b OK .*\nC\\ s APPEND x {3+}\\r\\nold\\r\\n\nS~ s OK .*\nC: c SELECT x\nS* c OK .*\n")
		l.asAlice(t, func(a storage.Account) storage.Op { return storage.DeleteMailbox{Account: a, Name: "x"} })
		p.Play(t, "C: d "+command+"\nS: * BYE The mailbox is gone\nS--\n")
	}
	values, err := reg.Values()
	if n, ok := values["imap_failures"]; err != nil || !ok || n != 0 {
		t.Errorf("%v faults were counted, %v", n, err)
	}
}

// What a client can reach by asking too much is told, and is no fault.
func TestBoundsOfAnAccountAreAnswers(t *testing.T) {
	_, dial := onDisk(t)
	p := transcript.New(t, dial())
	p.Play(t, loginOnDisk)
	each := func(tag, command string, times int) {
		var text strings.Builder
		for i := range times {
			fmt.Fprintf(&text, "C: %s%d %s m%d\nS~ %s%d OK .*\n", tag, i, command, i, tag, i)
		}
		p.Play(t, text.String())
	}
	each("c", "CREATE", 199)
	p.Play(t, "C: x CREATE one.more\nS~ x NO \\[LIMIT\\] .*\nC: y RENAME m1 one.more\nS~ y NO \\[LIMIT\\] .*\n")
	each("s", "SUBSCRIBE", 1000)
	p.Play(t, "C: x SUBSCRIBE one.more\nS~ x NO \\[LIMIT\\] .*\n")
	p.Play(t, "C\\ z SETMETADATA INBOX (/private/devicetoken {3+}\\r\\na\\x01b)\\r\\n\nS~ z NO \\[CANNOT\\] .*\nC: n NOOP\nS~ n OK .*\n")
}

// A pattern may be as long as a line. Its length must not multiply the work:
// what is left of it is as long as the name, about.
func TestLongPatternsAreCheap(t *testing.T) {
	name := strings.Repeat("ab.", 80) + "ab"
	for pattern, want := range map[string]bool{
		strings.Repeat("*", 60000):         true,
		strings.Repeat("%*", 30000):        true,
		strings.Repeat("%", 60000):         false,
		"%*%a*":                            true,
		"%%a%%":                            false,
		strings.Repeat("*a", 30000):        false,
		strings.Repeat("a*b%.", 80) + "%%": true,
		strings.Repeat("ab%", 30000):       false,
	} {
		if got := matches(pattern, name); got != want {
			t.Errorf("%.20s...: %v", pattern, got)
		}
		short, ok := squeeze(pattern, len(name))
		if ok && len(short) > 2*len(name)+1 {
			t.Errorf("%.20s... has %d octets left", pattern, len(short))
		}
	}
}

func TestInboxInAnyCaseFitsAnyPattern(t *testing.T) {
	for pattern, want := range map[string]bool{"iNbOx": true, "iNb*": true, "%x": true, "in%y": false, "inboxes": false} {
		if got := matches(pattern, "INBOX"); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
	if matches("X", "x") {
		t.Error("other names have a case")
	}
}

// Each key that looks at a header costs, not only those that look at bodies.
func TestSearchesReadOnlySoMuchOfHeaders(t *testing.T) {
	left := int64(25)
	text := &searchText{body: messageBody{head: make([]byte, 10)}, left: &left}
	key := &wire.SearchKey{Op: wire.SearchHeader, Field: "From", Text: "x"}
	for i, want := range []error{nil, nil, errCostly} {
		if text.holds(key); text.err != want {
			t.Errorf("look %d: %v, want %v", i+1, text.err, want)
		}
	}
}

// To undo an encoded word takes many times as long as to read it: it is done
// once for a message, and counts for what it takes.
func TestSearchesUndoOnlySoManyEncodedWords(t *testing.T) {
	head := []byte("To: " + strings.Repeat("=?iso-2022-jp?b?GyRCJCIbKEI=?= ", 1000) + "\r\n\r\n")
	once := int64(encodedCost * (len(head) - 2))
	key := &wire.SearchKey{Op: wire.SearchHeader, Field: "to", Text: "ああ"}
	for _, test := range []struct {
		left  int64
		looks int
	}{{once - 1, 0}, {once + 2*int64(len(head)), 2}} {
		text := &searchText{body: messageBody{head: head}, left: &test.left}
		for i := range test.looks {
			if !text.holds(key) {
				t.Errorf("look %d of %d: %v", i+1, test.looks, text.err)
			}
		}
		if text.holds(key) || text.err != errCostly {
			t.Errorf("look %d: %v, want %v", test.looks+1, text.err, errCostly)
		}
	}
	inside := "Content-Type: message/rfc822\r\n\r\n" + string(head) + "x"
	left := once + wordsCost*int64(len(inside))
	text := &searchText{body: messageBody{content: contentOf(inside)}, left: &left}
	if text.bodyHas("ああ") || text.err != errCostly {
		t.Errorf("a message inside: %v, want %v", text.err, errCostly)
	}
}

// Fields are looked for as their reader sees them, whatever the case.
func TestSearchesFindFieldsAsTheyAreRead(t *testing.T) {
	head := "From: A <a@x.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an\r\n  ALLE: hier\r\nno field\r\nDate : Tue, 2 Jan 2024 23:30:00 GMT\r\nX-Empty:\r\n\r\n"
	day := time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		key  wire.SearchKey
		want bool
	}{
		{wire.SearchKey{Op: wire.SearchHeader, Field: "SUBJECT", Text: "grüße an  alle: h"}, true},
		{wire.SearchKey{Op: wire.SearchHeader, Field: "SUBJECT", Text: "subject"}, false},
		{wire.SearchKey{Op: wire.SearchHeader, Field: "SUBJECT", Text: "hier\n"}, false},
		{wire.SearchKey{Op: wire.SearchHeader, Field: "from", Text: "<a@x.test>"}, true},
		{wire.SearchKey{Op: wire.SearchHeader, Field: "x-empty"}, true},
		{wire.SearchKey{Op: wire.SearchHeader, Field: "x-em"}, false},
		{wire.SearchKey{Op: wire.SearchSentOn, Date: day}, true},
		{wire.SearchKey{Op: wire.SearchSentSince, Date: day.AddDate(0, 0, 1)}, false},
		{wire.SearchKey{Op: wire.SearchText, Text: "subject: grüße"}, true},
		{wire.SearchKey{Op: wire.SearchText, Text: "no field"}, false},
	} {
		left := int64(searchTotal)
		text := &searchText{body: messageBody{content: contentOf(head)}, left: &left}
		if got := text.holds(&test.key); got != test.want || text.err != nil {
			t.Errorf("%+v: %v, %v", test.key, got, text.err)
		}
	}
}

// What is behind the addresses that are given is not looked at.
func TestLongAddressListsAreCut(t *testing.T) {
	good := strings.Repeat("A B <a@x.test>, ", maxAddressing/16)
	for name, test := range map[string]struct {
		list string
		want int
	}{
		"behind the bound": {good + strings.Repeat("(", 1<<20), maxAddresses},
		"within it":        {good[:1600] + strings.Repeat("(", 100), 0},
		"no comma":         {strings.Repeat("(", 1<<20), 0},
	} {
		if got := addresses(test.list); len(got) != test.want {
			t.Errorf("%s: %d addresses, want %d", name, len(got), test.want)
		}
	}
}

// Many items that pick fields from a long header are work without an answer
// that the client must read.
func TestFetchesLookOnlySoOftenAtLongHeaders(t *testing.T) {
	l := newLab(t)
	p := selectedAlice(t, l)
	l.deliver(t, "alice@relay.test", strings.Repeat("x", maxHeader-10)+":\n\nx")
	items := strings.TrimSpace(strings.Repeat("BODY.PEEK[HEADER.FIELDS (A)] ", 50))
	for range 5 {
		p.Play(t, "C: x UID FETCH 1 ("+items+")\nS* x OK .*\n")
	}
	for range 5 {
		l.deliver(t, "alice@relay.test", strings.Repeat("x", maxHeader-10)+":\n\nx")
	}
	p.Play(t, "C: x UID FETCH 1:* ("+items+")\nS* \\* BYE .*\nS--\n")
}

// Where the store has forgotten what went, everything that is not there
// counts as gone: a client that is told too little shows mail for ever that
// is no more.
func TestResyncAfterTheStoreForgot(t *testing.T) {
	l := newLab(t) // whose store never knows
	p := alice(t, l)
	for range 4 {
		l.deliver(t, "alice@relay.test", letter)
	}
	l.expungeOne(t, 2)
	p.Play(t, `
C: b ENABLE QRESYNC
S* b OK .*
C: c SELECT INBOX
S* \* OK \[UIDVALIDITY (?P<v>\d+)\] .*
S* c OK .*
C: d SELECT INBOX (QRESYNC (${v} 1 1:9))
S* \* OK \[HIGHESTMODSEQ \d+\] .*
S: * VANISHED (EARLIER) 2
S* d OK .*
C: e UID FETCH 2:* (UID) (CHANGEDSINCE 7 VANISHED)
S: * VANISHED (EARLIER) 2
S: e OK Fetch completed
`)
	l.expungeOne(t, 4)
	p.Play(t, `
C: f UID FETCH 1:* (UID) (CHANGEDSINCE 7 VANISHED)
S: * VANISHED 4
S: * VANISHED (EARLIER) 2
S: f OK Fetch completed
`)
}

// Patterns and names whose comparison costs more than a listing is worth are
// not compared.
func TestPatternsCostNoMoreThanTheirBound(t *testing.T) {
	l := newLab(t)
	p := alice(t, l)
	var names strings.Builder
	for i := range 400 {
		fmt.Fprintf(&names, "C: s SUBSCRIBE %s.%d\nS* s OK .*\n", strings.Repeat("a.", 100)+"b", i)
	}
	p.Play(t, names.String())
	pattern := strings.Repeat("*a", 100) + "*x"
	patterns := strings.Repeat(pattern+" ", 49) + pattern
	p.Play(t, "C: b LIST (SUBSCRIBED) \"\" ("+patterns+")\nS~ b NO \\[LIMIT\\] .*\nC: c LIST \"\" *\nS* c OK .*\n")
}

// counted counts the octets that are read of it.
type counted struct {
	storage.Content
	n int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Content.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

// A part that is asked for again and again is decoded once to know its size.
func TestPartsAreMeasuredOnce(t *testing.T) {
	text := "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUFB", 19)+"\r\n", 1000)
	content := &counted{Content: contentOf(text)}
	body := messageBody{content: content}
	var out wire.Writer
	out.Reset(io.Discard)
	item := wire.FetchItem{Item: wire.ItemBinarySize, Section: &imap.FetchItemBodySection{Part: []int{1}}, Name: "BINARY.SIZE[1]"}
	for range 50 {
		if err := body.binary(&out, item); err != nil {
			t.Fatal(err)
		}
	}
	if most := 3 * int64(len(text)); content.n > most {
		t.Errorf("%d octets were read of a message of %d", content.n, len(text))
	}
}

// What is too much in sum is not begun, and refused between two messages.
func TestFetchesDecodeOnlySoMuch(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	l.deliver(t, "alice@relay.test", "Content-Transfer-Encoding: base64\n\n"+strings.Repeat(strings.Repeat("QUFB", 19)+"\n", 145_000))
	p := selectedAlice(t, l)
	p.Play(t, "C: c FETCH 1 ("+strings.Repeat("BINARY.PEEK[1] ", 49)+"UID)\nS: c NO [LIMIT] This is too much to decode for one FETCH\nC: d NOOP\nS: d OK Noop completed\n")
	p.Play(t, "C: e FETCH 1 BINARY.PEEK[1]<0.3>\nS: * 1 FETCH (BINARY[1]<0> {3}\nS: AAA)\nS: e OK Fetch completed\n")
}
