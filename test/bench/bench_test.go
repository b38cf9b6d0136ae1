package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

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

// A client that throws answers away still finds their end: a literal may look
// like it.
func TestSwallowFindsTheEndOfAnAnswer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() {
		in := bufio.NewReader(theirs)
		for _, answer := range []string{
			"* 1 FETCH (UID 4 BODY[] {14}\r\nA1 OK a trap\r\n)\r\n* 2 FETCH (UID 5 BODY[] {2}\r\n\r\n)\r\nA1 OK done\r\n",
			"* 2 EXISTS\r\nA2 NO {sic}\r\n",
		} {
			in.ReadString('\n')
			io.WriteString(theirs, answer)
		}
	}()
	c := &imapClient{conn: ours, in: bufio.NewReader(ours)}
	if n, err := c.swallow("UID FETCH 1:* (BODY.PEEK[])"); n != 16 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := c.swallow("SELECT x"); err == nil || !strings.Contains(err.Error(), "NO {sic}") {
		t.Fatal(err)
	}
}
