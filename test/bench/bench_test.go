package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"
)

// A generated message is one that a relay takes for what the core sends: its
// parts, its packets, its size.
func TestMessageIsShapedLikeTheCores(t *testing.T) {
	w := newWriter("pair-1", "s00000001@relay.test")
	id, content := w.next()
	if again, _ := w.next(); again == id {
		t.Fatal("two messages have one Message-ID")
	}
	if n := len(content); n < messageSize-200 || n > messageSize+200 {
		t.Errorf("%d octets", n)
	}
	if bytes.Count(content, []byte("\n")) != bytes.Count(content, []byte("\r\n")) || !bytes.HasSuffix(content, []byte("\r\n")) ||
		bytes.Contains(content, []byte("\n.")) {
		t.Error("lines are not ready for DATA")
	}
	m, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("Message-ID"); got != "<"+id+">" {
		t.Errorf("Message-ID %q", got)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/encrypted" {
		t.Fatalf("%q %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	first, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if version, _ := io.ReadAll(first); !strings.Contains(string(version), "Version: 1") {
		t.Errorf("first part %q", version)
	}
	second, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	armored, _ := io.ReadAll(second)
	checkPackets(t, string(armored))
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("a third part: %v", err)
	}
}

func checkPackets(t *testing.T, armored string) {
	t.Helper()
	text, ok := strings.CutPrefix(armored, "-----BEGIN PGP MESSAGE-----\r\n\r\n")
	text, _, ok2 := strings.Cut(text, "\r\n=")
	data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\r\n", ""))
	if !ok || !ok2 || err != nil {
		t.Fatalf("armor: %v", err)
	}
	var tags []byte
	for len(data) > 0 {
		tag, n, head := data[0]&0x3f, int(data[1]), 2
		if n >= 192 {
			n, head = (n-192)<<8+int(data[2])+192, 3
		}
		if head+n > len(data) {
			t.Fatalf("packet %d of %d octets, %d are left", tag, n, len(data))
		}
		tags = append(tags, tag)
		data = data[head+n:]
	}
	if !bytes.Equal(tags, []byte{1, 1, 18}) {
		t.Errorf("packets %v", tags)
	}
}

func TestArmorChecksum(t *testing.T) {
	if got := crc24([]byte("123456789")); got != 0x21cf02 {
		t.Fatalf("%06x", got)
	}
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := 100; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	if a, b, c := quantile(all, 0.5), quantile(all, 0.99), quantile(all[:1], 0.5); a != 50 || b != 99 || c != 100 {
		t.Fatal(a, b, c)
	}
	if quantile(nil, 0.5) != 0 {
		t.Fatal("nothing has a median")
	}
}

// The figures of a process are read from /proc as its manual says.
func TestProcessFigures(t *testing.T) {
	stat := "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 900 0 3 0 150 25 0 0 20 0 8 0 100 1 2 3"
	if u, err := parseStat(stat); err != nil || u != (usage{1750 * time.Millisecond, 250 * time.Millisecond}) {
		t.Error(u, err)
	}
	if _, err := parseStat("4242"); err == nil {
		t.Error("half a line was read")
	}
	if n, err := parseRollup("5500-7fff [rollup]\nRss:  9 kB\nPss:                2048 kB\nPss_Dirty: 1 kB\n"); err != nil || n != 2<<20 {
		t.Error(n, err)
	}
	if _, err := parseRollup("Rss: 9 kB\n"); err == nil {
		t.Error("no Pss line was read")
	}
}

func TestMountOfAPath(t *testing.T) {
	const mounts = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:40 / /tmp rw shared:5 - tmpfs tmpfs rw
31 22 254:16 / /srv/mail rw - xfs /dev/vdb rw
`
	for path, want := range map[string]string{
		"/var/tmp": "ext4", "/tmp/x": "tmpfs", "/tmp": "tmpfs", "/srv/mailbox": "ext4", "/srv/mail/a": "xfs",
	} {
		if kind, _ := mountOf(mounts, path); kind != want {
			t.Errorf("%s lies on %s", path, kind)
		}
	}
	if n := countRanges("0-3,8"); n != 5 {
		t.Error(n)
	}
}

func TestLiteralsBelongToTheirLine(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("* 1 FETCH (UID 4 BODY[] {6}\r\na\r\nb\r\n)\r\nA1 OK done {sic\r\n"))
	line, err := readIMAPLine(in)
	if err != nil || line != "* 1 FETCH (UID 4 BODY[] {6}a\r\nb\r\n)" {
		t.Fatalf("%q %v", line, err)
	}
	if line, err = readIMAPLine(in); err != nil || line != "A1 OK done {sic" {
		t.Fatalf("%q %v", line, err)
	}
}

// Twice as good reads as 2, whichever way is better.
func TestReportComparesTheRightWay(t *testing.T) {
	before := Report{Rows: []Row{{Name: "speed", Value: 100}, {Name: "memory", Value: 30}}}
	now := Report{Rows: []Row{{"speed", "1/s", 200, higher, 0}, {"memory", "KB", 15, lower, 12}, {"new", "s", 1, lower, 0}}}
	var out bytes.Buffer
	now.print(&out, before)
	if strings.Count(out.String(), "x 2.00") != 3 { // two rows and the legend
		t.Fatal(out.String())
	}
}
