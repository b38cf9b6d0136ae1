package imap

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"barid/test/transcript"
)

// deflating is a client's end with DEFLATE in both directions.
type deflating struct {
	net.Conn
	r io.Reader
	w *flate.Writer
}

func deflate(t *testing.T, c net.Conn) net.Conn {
	w, err := flate.NewWriter(c, 6)
	if err != nil {
		t.Fatal(err)
	}
	return &deflating{c, flate.NewReader(c), w}
}

func (d *deflating) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *deflating) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err == nil {
		err = d.w.Flush()
	}
	return n, err
}

// say gives one command and reads lines to its answer.
func say(t *testing.T, c net.Conn, in *bufio.Reader, tag, command string) (lines []string) {
	t.Helper()
	if command != "" {
		fmt.Fprintf(c, "%s %s\r\n", tag, command)
	}
	for {
		l, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err, lines)
		}
		lines = append(lines, strings.TrimRight(l, "\r\n"))
		if strings.HasPrefix(l, tag+" ") {
			return lines
		}
	}
}

// compressing opens a session of Alice's and begins to compress.
func compressing(t *testing.T, raw net.Conn) net.Conn {
	in := bufio.NewReaderSize(raw, 16) // nothing compressed is in it: the answer ends what there is
	in.ReadString('\n')
	say(t, raw, in, "a", `LOGIN alice@relay.test "secret-of-alice@relay.test"`)
	if l := say(t, raw, in, "b", "CAPABILITY"); !strings.Contains(l[0], " COMPRESS=DEFLATE") {
		t.Fatal(l)
	}
	if l := say(t, raw, in, "c", "COMPRESS DEFLATE"); l[0] != "c OK DEFLATE active" || in.Buffered() > 0 {
		t.Fatal(l)
	}
	return deflate(t, raw)
}

// The receive loop of a core that compresses. Its tags begin anew.
func TestASessionCompresses(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Compress = true })
	l.born(t, "alice@relay.test")
	long := letter + strings.Repeat("0123456789abcdef\n", 20000)
	l.deliver(t, "alice@relay.test", long)
	p := transcript.New(t, compressing(t, l.dial(t)))
	p.Play(t, `
C: a CAPABILITY
S~ \* CAPABILITY IMAP4rev1 .* APPENDLIMIT=31457280
S: a OK Capability completed
C: b COMPRESS DEFLATE
S~ b NO \[COMPRESSIONACTIVE\] .*
C: c SELECT INBOX
S* \* 1 EXISTS
S* c OK .*
C: d FETCH 1 BODY.PEEK[]
S: * 1 FETCH (BODY[] {${#mail}}
S< mail
S: )
S: d OK Fetch completed
C: e IDLE
S: + idling
`+file("mail", []byte(long)))
	for i := range 20 {
		l.deliver(t, "alice@relay.test", letter)
		p.Play(t, fmt.Sprintf("S: * %d EXISTS\n", i+2))
	}
	p.Play(t, `
C: DONE
S: e OK Idle completed
C: f APPEND INBOX {8}
S: + OK
C: A: b
C:
C:
S: * 22 EXISTS
S~ f OK .*
C: g NOOP
C: h IDLE
C: DONE
C: i NOOP
S: g OK Noop completed
S: + idling
S: h OK Idle completed
S: i OK Noop completed
C: j LOGOUT
S: * BYE Logging out
S: j OK Logout completed
S--
`)
}

func TestCompressIsOffUnlessAskedFor(t *testing.T) {
	l := newLab(t)
	alice(t, l).Play(t, "C: b COMPRESS DEFLATE\nS: b BAD COMPRESS not available\nC: c CAPABILITY\nS~ \\* CAPABILITY [^=]*(APPENDLIMIT=|STATUS=|QUOTA=|[^=])*\nS* c OK .*\n")
}

// The same over a socket and TLS, where a session sleeps below everything: a
// client that ends its piece in the middle of an octet is woken up, too.
func TestACompressingSessionSleepsAndWakes(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Compress = true })
	l.born(t, "alice@relay.test")
	conn := l.dialTLS(t)
	compressing(t, conn)
	var bits partial
	var got strings.Builder
	in := bufio.NewReader(flate.NewReader(conn))
	expect := func(want string) {
		t.Helper()
		line, err := in.ReadString('\n')
		got.WriteString(line)
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("%q, %v", line, err)
		}
	}
	conn.Write(bits.line("a SELECT INBOX"))
	for !strings.Contains(got.String(), "a OK") {
		expect("")
	}
	for i := range 3 {
		conn.Write(bits.line("b IDLE"))
		expect("+ idling")
		within(t, 5*time.Second, func() bool { return l.sv.idle.Load() == 1 })
		l.deliver(t, "alice@relay.test", letter)
		expect(fmt.Sprintf("* %d EXISTS", i+1))
		conn.Write(bits.line("DONE"))
		expect("b OK")
	}
	// Two commands in two records of one segment.
	conn.Write(bits.line("c IDLE"))
	conn.Write(bits.line("DONE"))
	expect("+ idling")
	expect("c OK")
}

// partial writes DEFLATE with the fixed code, each line a block, followed by
// an empty one: what zlib calls a partial flush. Bits that do not fill an
// octet wait for the next line.
type partial struct {
	bits uint64
	n    uint
}

func (p *partial) line(text string) []byte {
	var out []byte
	put := func(code, n uint) { // highest bit first
		for i := range n {
			p.bits |= uint64(code>>(n-1-i)&1) << p.n
			if p.n++; p.n == 8 {
				out = append(out, byte(p.bits))
				p.bits, p.n = 0, 0
			}
		}
	}
	begin := func() { put(0, 1); put(2, 2) } // not the last, fixed: the bits of a number go lowest first
	begin()
	for _, c := range []byte(text + "\r\n") {
		put(uint(c)+0x30, 8)
	}
	put(0, 7)
	begin()
	put(0, 7)
	return out
}

func TestWhatIsNotCompressedEndsTheSession(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Compress = true })
	l.born(t, "alice@relay.test")
	raw := l.dial(t)
	c := compressing(t, raw)
	go io.WriteString(raw, "\x07\xff\xff\xff")
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if n := l.sv.compressed.Load(); n > 1 {
		t.Error(n)
	}
}

// Compressors are shared, however many sessions compress.
func TestNobodyKeepsACompressor(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Compress = true })
	l.born(t, "alice@relay.test")
	made := 0
	l.sv.compressors.New = func() any { made++; return newCompressor() }
	for range 20 {
		p := transcript.New(t, compressing(t, l.dial(t)))
		p.Play(t, "C: a IDLE\nS: + idling\n")
	}
	if made > 10 { // the pool may lose some
		t.Errorf("%d compressors for 20 sessions that idle", made)
	}
}
