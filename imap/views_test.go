package imap

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"barid/internal/netserve"
	"barid/smtp"
	"barid/storage"
	"barid/storage/local"
)

// Several sessions of one account work on one mailbox, in any order. Each is
// watched by a viewer, which believes what it is told as a client does, and
// knows when it may be told what. Whatever happens, it must end with a true
// picture of the mailbox.

// message is what the model, or a viewer, knows of one message.
type message struct {
	uid    int    // 0: not known yet
	flags  string // sorted; "?" when not known yet
	modSeq int
}

// viewer is one client with its session.
type viewer struct {
	t        *rapid.T
	kind     viewerKind
	name     string
	conn     net.Conn
	lines    chan string
	tag      int
	idling   bool
	list     []message
	highest  int // the mod-sequence up to which it knows everything
	validity string
	// toldFlags has the UIDs whose flags the last command told.
	toldFlags map[int]bool
}

type viewerKind int

const (
	core     viewerKind = iota // never asks for CAPABILITY
	plainOne                   // does
	condStore
	qResync
)

// The commands in which a viewer is told of what is gone.
func tellsGone(command string) bool {
	word, rest, _ := strings.Cut(command, " ")
	switch word {
	case "FETCH", "STORE", "SEARCH", "COPY":
		return false
	case "UID":
		return !strings.HasPrefix(rest, "FETCH") || strings.Contains(rest, "VANISHED")
	}
	return true
}

var (
	fetchLine  = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	uidItem    = regexp.MustCompile(`UID (\d+)`)
	flagsItem  = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	modSeqItem = regexp.MustCompile(`MODSEQ \((\d+)\)`)
	codeItem   = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	validItem  = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
)

func num(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func submatch(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

func (v *viewer) fail(line, why string) {
	v.t.Helper()
	v.t.Fatalf("%s is told %q: %s; it knows %v", v.name, line, why, v.list)
}

func (v *viewer) line() string {
	select {
	case l, ok := <-v.lines:
		if !ok {
			v.t.Fatalf("%s: the connection is over", v.name)
		}
		return l
	case <-time.After(10 * time.Second):
		v.t.Fatalf("%s: nothing comes", v.name)
	}
	return ""
}

// do gives a command and takes its answer.
func (v *viewer) do(command string) string {
	v.t.Helper()
	v.tag++
	tag := fmt.Sprintf("t%d", v.tag)
	io.WriteString(v.conn, tag+" "+command+"\r\n")
	return v.until(tag, command)
}

// until takes lines up to the tagged one, as answers to command.
func (v *viewer) until(tag, command string) string {
	v.t.Helper()
	top := 0
	v.toldFlags = map[int]bool{}
	given := map[int]bool{}
	for {
		l := v.line()
		if rest, ok := strings.CutPrefix(l, tag+" "); ok {
			if !strings.HasPrefix(rest, "OK") {
				v.fail(l, "after "+command)
			}
			if code := submatch(codeItem, rest); code != "" {
				v.highest = num(code)
			} else if tellsGone(command) && !strings.HasPrefix(command, "UID FETCH") {
				v.highest = max(v.highest, top)
			}
			return rest
		}
		top = max(top, v.untagged(l, command, given))
	}
}

// untagged believes a line, if it may come now. It gives its mod-sequence.
func (v *viewer) untagged(l, command string, given map[int]bool) (modSeq int) {
	v.t.Helper()
	if m := fetchLine.FindStringSubmatch(l); m != nil {
		return v.fetched(l, command, num(m[1]), m[2], given)
	}
	word := strings.Fields(l)
	switch {
	case len(word) == 3 && word[2] == "EXISTS":
		n := num(word[1])
		if n < len(v.list) {
			v.fail(l, "messages go by EXPUNGE only")
		}
		for len(v.list) < n {
			v.list = append(v.list, message{flags: "?"})
		}
	case len(word) == 3 && word[2] == "EXPUNGE":
		n := num(word[1])
		if v.kind == qResync || n < 1 || n > len(v.list) || !tellsGone(command) || command == "IDLE" && v.kind == core {
			v.fail(l, "not now, in "+command)
		}
		v.list = slices.Delete(v.list, n-1, n)
	case len(word) > 1 && word[1] == "VANISHED":
		earlier := word[2] == "(EARLIER)"
		if v.kind != qResync || !earlier && !tellsGone(command) && !strings.HasPrefix(command, "UID FETCH") {
			v.fail(l, "not now, in "+command)
		}
		v.vanished(l, word[len(word)-1], earlier)
	case strings.HasPrefix(l, "* OK [HIGHESTMODSEQ"), strings.HasPrefix(l, "* OK [UIDVALIDITY"):
		if n := submatch(codeItem, l); n != "" {
			v.highest = num(n)
		}
		if n := submatch(validItem, l); n != "" {
			v.validity = n
		}
	}
	return 0
}

func (v *viewer) vanished(l, set string, earlier bool) {
	for _, r := range strings.Split(set, ",") {
		first, last, _ := strings.Cut(r, ":")
		if last == "" {
			last = first
		}
		for uid := num(first); uid <= num(last); uid++ {
			i := slices.IndexFunc(v.list, func(m message) bool { return m.uid == uid })
			switch {
			case i >= 0 && earlier:
				v.fail(l, "it has a number")
			case i >= 0:
				v.list = slices.Delete(v.list, i, i+1)
			case !earlier:
				// One whose UID it was never told; the number is what counts.
				if i = v.unknown(uid); i < 0 {
					v.fail(l, "it does not know that")
				}
				v.list = slices.Delete(v.list, i, i+1)
			}
		}
	}
}

// unknown finds a message whose UID it was not told and that can have this
// one, for UIDs ascend.
func (v *viewer) unknown(uid int) int {
	at := -1
	for i, m := range v.list {
		switch {
		case m.uid == 0 && at < 0:
			at = i
		case m.uid != 0 && m.uid < uid:
			at = -1
		case m.uid > uid:
			return at
		}
	}
	return at
}

func (v *viewer) fetched(l, command string, n int, items string, given map[int]bool) int {
	v.t.Helper()
	if n < 1 || n > len(v.list) {
		v.fail(l, "there is no such message")
	}
	m := &v.list[n-1]
	if uid := num(submatch(uidItem, items)); uid != 0 {
		if m.uid != 0 && m.uid != uid {
			v.fail(l, "it is another message")
		}
		m.uid = uid
	}
	if f := flagsItem.FindStringSubmatch(items); f != nil {
		words := strings.Fields(f[1])
		slices.Sort(words)
		m.flags = strings.Join(words, " ")
		v.toldFlags[m.uid] = true
	}
	modSeq := num(submatch(modSeqItem, items))
	isFetch := strings.HasPrefix(command, "FETCH") || strings.HasPrefix(command, "UID FETCH")
	switch {
	case isFetch && given[n]:
		v.fail(l, "nobody asked for that in "+command)
	case !isFetch && (v.kind >= condStore) != (modSeq > 0):
		v.fail(l, "the mod-sequence")
	case command == "IDLE" && v.kind == core:
		v.fail(l, "a core must not be woken for that")
	case modSeq > 0 && modSeq < m.modSeq:
		v.fail(l, "mod-sequences only rise")
	}
	given[n] = true
	m.modSeq = modSeq
	return modSeq
}

// sees compares what the viewer knows with what is there.
func (v *viewer) sees(model []message, all bool) {
	v.t.Helper()
	if len(v.list) != len(model) {
		v.t.Fatalf("%s knows %v, there are %v", v.name, v.list, model)
	}
	for i, m := range v.list {
		is := model[i]
		if m.uid != is.uid && (all || m.uid != 0) || m.flags != is.flags && (all || m.flags != "?") {
			v.t.Fatalf("%s knows %v, there are %v", v.name, v.list, model)
		}
	}
}

// world is the store, its sessions and the model.
type world struct {
	t       *rapid.T
	store   *local.Store
	sv      *Server
	ctx     context.Context
	wg      *sync.WaitGroup
	to      smtp.Address
	viewers []*viewer
	model   []message
	next    int
}

func (w *world) dial(v *viewer) {
	client, server := net.Pipe()
	w.wg.Go(func() {
		w.sv.Clear().ServeConn(w.ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.7")))
		server.Close()
	})
	v.conn, v.lines = client, make(chan string, 10000)
	lines := v.lines
	w.wg.Go(func() {
		defer close(lines)
		in := bufio.NewScanner(client)
		for in.Scan() {
			lines <- in.Text()
		}
	})
	v.line() // the greeting
	v.do(`LOGIN alicealic@relay.test secret-of-alice`)
	switch v.kind {
	case plainOne:
		v.do("CAPABILITY")
	case condStore:
		v.do("CAPABILITY")
		v.do("ENABLE CONDSTORE")
	case qResync:
		v.do("CAPABILITY")
		v.do("ENABLE QRESYNC")
	}
	v.selectInbox()
}

// selectInbox selects and looks at everything.
func (v *viewer) selectInbox() {
	v.list = nil
	v.do("SELECT INBOX")
	if len(v.list) > 0 {
		v.do("FETCH 1:* (UID FLAGS)")
	}
}

func (w *world) change(uid int, f func([]string) []string) {
	for i := range w.model {
		if w.model[i].uid == uid {
			words := f(strings.Fields(w.model[i].flags))
			slices.Sort(words)
			w.model[i].flags = strings.Join(slices.Compact(words), " ")
		}
	}
}

func (w *world) drop(gone func(message) bool) { w.model = slices.DeleteFunc(w.model, gone) }

func deleted(m message) bool { return strings.Contains(m.flags, `\Deleted`) }

// some draws one message that v has a number and a UID for.
func (w *world) some(v *viewer) (n, uid int, ok bool) {
	var known []int
	for i, m := range v.list {
		if m.uid != 0 {
			known = append(known, i)
		}
	}
	if len(known) == 0 {
		return 0, 0, false
	}
	i := rapid.SampledFrom(known).Draw(w.t, "message")
	return i + 1, v.list[i].uid, true
}

func (w *world) awake() *viewer {
	v := w.viewers[rapid.IntRange(0, len(w.viewers)-1).Draw(w.t, "viewer")]
	if v.idling {
		w.done(v)
	}
	return v
}

func (w *world) done(v *viewer) {
	io.WriteString(v.conn, "DONE\r\n")
	v.idling = false
	v.until(fmt.Sprintf("t%d", v.tag), "IDLE")
	if v.kind != core {
		v.sees(w.model, false)
	}
}

// actions are what can happen.
func (w *world) actions() map[string]func(*rapid.T) {
	do := func(f func(v *viewer)) func(*rapid.T) {
		return func(t *rapid.T) {
			w.t = t
			for _, v := range w.viewers {
				v.t = t
			}
			f(w.awake())
		}
	}
	return map[string]func(*rapid.T){
		"deliver": func(t *rapid.T) {
			res, err := w.store.Commit(w.ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: w.to, Content: contentOf("A: b\r\n\r\n")}}})
			if err != nil || res.Per[0].Err != nil {
				t.Fatal(err)
			}
			w.arrived("")
		},
		"append": do(func(v *viewer) {
			v.do("APPEND INBOX (\\Seen) {8+}\r\nA: b\r\n\r\n")
			w.arrived(`\Seen`)
		}),
		"noop": do(func(v *viewer) {
			v.do("NOOP")
			v.sees(w.model, false)
		}),
		"idle": do(func(v *viewer) {
			v.tag++
			fmt.Fprintf(v.conn, "t%d IDLE\r\n", v.tag)
			if l := v.line(); l != "+ idling" {
				v.fail(l, "before the continuation")
			}
			v.idling = true
		}),
		"store":   do(w.storeSomething),
		"expunge": do(w.expungeSomething),
		"fetch": do(func(v *viewer) {
			v.do("UID FETCH 1:* (UID FLAGS)")
			w.knowsFlags(v)
		}),
		"fetch by number": do(func(v *viewer) {
			if len(v.list) > 0 {
				v.do("FETCH 1:* (FLAGS UID)")
			}
		}),
		"search": do(func(v *viewer) { v.do("UID SEARCH ALL") }),
		"copy or move": do(func(v *viewer) {
			n, uid, ok := w.some(v)
			if !ok {
				return
			}
			if rapid.Bool().Draw(w.t, "copy") {
				v.do(fmt.Sprintf("COPY %d Other", n))
				return
			}
			v.do(fmt.Sprintf("UID MOVE %d Other", uid))
			w.drop(func(m message) bool { return m.uid == uid })
			v.sees(w.model, false)
		}),
		"close": do(func(v *viewer) {
			v.do("CLOSE")
			w.drop(deleted)
			v.selectInbox()
			v.sees(w.model, true)
		}),
		"come back": do(w.comeBack),
		"what changed": do(func(v *viewer) {
			if v.kind < condStore {
				return
			}
			command := fmt.Sprintf("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)", v.highest)
			if v.kind == qResync {
				command = fmt.Sprintf("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)", v.highest)
			}
			v.do(command)
			w.knowsNothingWrong(v)
		}),
	}
}

// knowsNothingWrong: what v knows of messages that are still there is true.
func (w *world) knowsNothingWrong(v *viewer) {
	for _, m := range v.list {
		if slices.ContainsFunc(w.model, func(is message) bool { return m.uid == is.uid && m.flags != is.flags && m.flags != "?" }) {
			w.t.Fatalf("%s knows %v, there are %v", v.name, v.list, w.model)
		}
	}
}

// knowsFlags: v must know the flags of all that is still there.
func (w *world) knowsFlags(v *viewer) {
	for _, is := range w.model {
		if !slices.ContainsFunc(v.list, func(m message) bool { return m.uid == is.uid && m.flags == is.flags }) {
			w.t.Fatalf("%s knows %v, there are %v", v.name, v.list, w.model)
		}
	}
}

func (w *world) arrived(flags string) {
	w.next++
	w.model = append(w.model, message{uid: w.next, flags: flags})
}

func (w *world) storeSomething(v *viewer) {
	n, uid, ok := w.some(v)
	if !ok {
		return
	}
	flag := rapid.SampledFrom([]string{`\Seen`, `\Deleted`, `\Flagged`}).Draw(w.t, "flag")
	mode := rapid.SampledFrom([]string{"+", "-", ""}).Draw(w.t, "mode")
	silent := rapid.SampledFrom([]string{"", ".SILENT"}).Draw(w.t, "silent")
	since := ""
	if v.kind >= condStore && rapid.Bool().Draw(w.t, "conditional") {
		since = fmt.Sprintf(" (UNCHANGEDSINCE %d)", v.list[n-1].modSeq)
	}
	command := fmt.Sprintf("UID STORE %d%s %sFLAGS%s (%s)", uid, since, mode, silent, flag)
	if rapid.Bool().Draw(w.t, "by number") {
		command = fmt.Sprintf("STORE %d%s %sFLAGS%s (%s)", n, since, mode, silent, flag)
	}
	was := v.list[n-1]
	reply := v.do(command)
	if strings.Contains(reply, "[MODIFIED") {
		return
	}
	set := func(have []string) []string {
		switch mode {
		case "+":
			return append(have, flag)
		case "-":
			return slices.DeleteFunc(have, func(f string) bool { return f == flag })
		}
		return []string{flag}
	}
	w.change(uid, set)
	if silent != "" { // the client knows what it did, unless it was told otherwise
		for i, m := range v.list {
			if m.uid == uid && m.flags == was.flags && m.flags != "?" && !v.toldFlags[uid] {
				words := set(strings.Fields(m.flags))
				slices.Sort(words)
				v.list[i].flags = strings.Join(slices.Compact(words), " ")
			}
		}
	}
	if strings.HasPrefix(command, "UID") {
		v.sees(w.model, false)
	}
}

func (w *world) expungeSomething(v *viewer) {
	if _, uid, ok := w.some(v); ok && rapid.Bool().Draw(w.t, "one") {
		v.do(fmt.Sprintf("UID EXPUNGE %d", uid))
		w.drop(func(m message) bool { return m.uid == uid && deleted(m) })
	} else {
		v.do("EXPUNGE")
		w.drop(deleted)
	}
	v.sees(w.model, false)
}

// comeBack ends the session in the middle and begins another. A client of
// QRESYNC keeps what it knew and asks for the rest.
func (w *world) comeBack(v *viewer) {
	v.conn.Close()
	old := *v
	w.dial(v)
	if v.kind != qResync {
		v.sees(w.model, true)
		return
	}
	remembered := map[int]string{}
	for _, m := range old.list {
		if m.uid != 0 && m.flags != "?" {
			remembered[m.uid] = m.flags
		}
	}
	v.list = nil
	v.do("UNSELECT")
	w.resync(v, &old, remembered)
}

func (w *world) resync(v, old *viewer, remembered map[int]string) {
	v.tag++
	tag := fmt.Sprintf("t%d", v.tag)
	command := fmt.Sprintf("SELECT INBOX (QRESYNC (%s %d))", old.validity, old.highest)
	io.WriteString(v.conn, tag+" "+command+"\r\n")
	for {
		l := v.line()
		if strings.HasPrefix(l, tag+" OK") {
			break
		}
		if set, ok := strings.CutPrefix(l, "* VANISHED (EARLIER) "); ok {
			for _, r := range strings.Split(set, ",") {
				first, last, _ := strings.Cut(r, ":")
				for uid := num(first); uid <= max(num(first), num(last)); uid++ {
					delete(remembered, uid)
				}
			}
			continue
		}
		v.untagged(l, command, map[int]bool{})
		if m := fetchLine.FindStringSubmatch(l); m != nil {
			got := v.list[num(m[1])-1]
			remembered[got.uid] = got.flags
		}
	}
	for _, is := range w.model {
		if is.uid == 0 {
			continue
		}
		// What came when the client knew the mailbox, but not that message, it
		// has no flags of; it sees by the UID that it must ask.
		if flags, ok := remembered[is.uid]; ok && flags != is.flags {
			w.t.Fatalf("after QRESYNC from %d %s remembers %v, there are %v", old.highest, v.name, remembered, w.model)
		}
		delete(remembered, is.uid)
	}
	if len(remembered) > 0 {
		w.t.Fatalf("after QRESYNC from %d %s still has %v, there are %v", old.highest, v.name, remembered, w.model)
	}
	if len(v.list) > 0 {
		v.do("FETCH 1:* (UID FLAGS)")
	}
	v.sees(w.model, true)
}

func TestEveryViewStaysTrue(t *testing.T) {
	few(t)
	rapid.Check(t, func(rt *rapid.T) {
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		store, err := local.Open(local.Config{
			Dir: t.TempDir(), Domain: "relay.test", NoSync: true, SegmentBytes: 1 << 20, CheckpointBytes: 2 << 20,
			Policy: local.Policy{UsernameMin: 9, UsernameMax: 9, PasswordMin: 9},
		})
		if err != nil {
			rt.Fatal(err)
		}
		sv := New(Config{Store: store, Domain: "relay.test"})
		sv.judge = anything
		w := &world{t: rt, store: store, sv: sv, ctx: context.Background(), wg: &wg}
		w.to, _ = smtp.ParseAddress("alicealic@relay.test")
		defer func() {
			for _, v := range w.viewers {
				v.conn.Close()
			}
			cancel()
			wg.Wait()
			if err := store.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		w.ctx = ctx
		for i, kind := range []viewerKind{core, plainOne, condStore, qResync, qResync} {
			v := &viewer{t: rt, kind: kind, name: fmt.Sprintf("%d(%d)", i, kind)}
			w.viewers = append(w.viewers, v)
			w.dial(v)
			if i == 0 {
				v.do("CREATE Other")
			}
		}
		actions := w.actions()
		rt.Repeat(actions)
		w.t = rt
		for _, v := range w.viewers {
			v.t = rt
			if v.idling {
				w.done(v)
			}
			v.do("NOOP")
			v.sees(w.model, false)
			if len(v.list) > 0 {
				v.do("FETCH 1:* (UID FLAGS)")
			}
			v.sees(w.model, true)
		}
	})
}

// few makes a quick test of it, unless somebody asks for more with
// -rapid.checks.
func few(t *testing.T) {
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if f := flag.Lookup("rapid.checks"); f != nil && !asked {
		old := f.Value.String()
		f.Value.Set("30")
		t.Cleanup(func() { f.Value.Set(old) })
	}
}
