package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"barid/test/letter"
)

// owner is one account and the only client of it: it appends, copies and moves
// messages, sets flags, expunges, and makes, renames and removes mailboxes. So
// after a kill the account must be exactly as it was after the last command
// that was answered, or as the one that was not would have made it: nothing in
// between.
type owner struct {
	account account
	dice    *rand.Rand
	letters *letter.Writer
	names   int // mailboxes made so far

	state   soakState
	pending func(soakState)   // of the command on its way; nil without one
	uids    map[string]string // "UIDVALIDITY UID" to Message-ID, for ever
	highest map[string]uint64 // UIDVALIDITY to the highest UID of it
	done    int               // commands that were answered with OK
	last    []string          // some of them, the youngest last
}

func newOwner(n int) *owner {
	a := person('o', n)
	return &owner{
		account: a, dice: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(n))),
		letters: letter.New(fmt.Sprintf("owner-%d", n), a.address, 2000),
		state:   soakState{"INBOX": nil}, uids: map[string]string{}, highest: map[string]uint64{},
	}
}

// soakState is what an account holds: mailboxes by name, messages in their order.
type soakState map[string][]soakMessage

type soakMessage struct {
	id    string // Message-ID
	flags string // sorted, with spaces between
}

func (s soakState) clone() soakState {
	c := soakState{}
	for name, messages := range s {
		c[name] = slices.Clone(messages)
	}
	return c
}

func (s soakState) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&text, "%s:", name)
		for _, m := range s[name] {
			fmt.Fprintf(&text, " %s(%s)", m.id, m.flags)
		}
		text.WriteString("\n")
	}
	return text.String()
}

// live works until the relay dies. What it finds first is held against what it
// knows.
func (o *owner) live(ctx context.Context, s *server) error {
	c, err := dialIMAP(ctx, s.imap, o.account, coreHello())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := o.check(c); err != nil {
		return err
	}
	if _, err := c.do("SELECT INBOX"); err != nil {
		return err
	}
	selected := "INBOX"
	for {
		if selected, err = o.turn(c, selected); err != nil {
			return err
		}
	}
}

// check reads all that the account holds.
func (o *owner) check(c *imapClient) error {
	found, err := o.read(c)
	if err != nil {
		return err
	}
	before := o.state
	if o.pending != nil && found.String() != o.state.String() {
		o.state = o.state.clone()
		o.pending(o.state)
	}
	o.pending = nil
	if found.String() == o.state.String() {
		return nil
	}
	return broken("an account is, where it differs,\n%sand was\n%sor with the command that was cut off\n%safter\n%s",
		found.without(o.state), before.without(found), o.state.without(found), strings.Join(o.last, "\n"))
}

// without leaves out the mailboxes that are the same in another state.
func (s soakState) without(other soakState) soakState {
	rest := soakState{}
	for name, messages := range s {
		if same, ok := other[name]; !ok || !slices.Equal(messages, same) {
			rest[name] = messages
		}
	}
	return rest
}

var (
	listedName   = regexp.MustCompile(`^\* LIST \([^)]*\) \S+ "?([^"]+)"?$`)
	fetchedFlags = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	appendedUID  = regexp.MustCompile(`\[APPENDUID (\d+) (\d+)\]`)
)

func (o *owner) read(c *imapClient) (soakState, error) {
	listed, err := c.do(`LIST "" "*"`)
	if err != nil {
		return nil, err
	}
	found := soakState{}
	for _, line := range listed {
		m := listedName.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[1]
		selected, err := c.do("EXAMINE " + name)
		if err != nil {
			return nil, err
		}
		validity := ""
		next := uint64(0)
		for _, line := range selected {
			if v := uidValidity.FindStringSubmatch(line); v != nil {
				validity = v[1]
			}
			if v := uidNext.FindStringSubmatch(line); v != nil {
				next, _ = strconv.ParseUint(v[1], 10, 32)
			}
		}
		if next <= o.highest[validity] {
			return nil, broken("UIDNEXT is %d, and UID %d was seen", next, o.highest[validity])
		}
		fetched, err := c.do(`UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])`)
		if err != nil {
			return nil, err
		}
		found[name] = nil
		for _, line := range fetched {
			u, f, id := fetchedUID.FindStringSubmatch(line), fetchedFlags.FindStringSubmatch(line), fetchedID.FindStringSubmatch(line)
			if f == nil {
				continue
			}
			if u == nil || id == nil {
				return nil, broken("a message of %s without content: %s", name, line)
			}
			if err := o.saw(validity, u[1], id[1]); err != nil {
				return nil, err
			}
			found[name] = append(found[name], soakMessage{id[1], sortFlags(f[1])})
		}
	}
	return found, nil
}

// saw holds a UID to its message.
func (o *owner) saw(validity, uid, id string) error {
	key := validity + " " + uid
	if was := o.uids[key]; was != "" && was != id {
		return broken("UID %s was %s and is %s", key, was, id)
	}
	o.uids[key] = id
	n, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return err
	}
	o.highest[validity] = max(o.highest[validity], n)
	return nil
}

// sortFlags leaves out \Recent, which is not kept.
func sortFlags(flags string) string {
	all := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\Recent` })
	slices.Sort(all)
	return strings.Join(all, " ")
}

// errNo says that the server refused a command, which then changed nothing.
var errNo = errors.New("refused")

// change does one command that changes the state.
func (o *owner) change(c *imapClient, command string, apply func(soakState)) error {
	o.pending = apply
	said, err := c.ask(command)
	if err != nil {
		return err // the answer may have been lost
	}
	o.pending = nil
	if !strings.HasPrefix(said, "OK") {
		return fmt.Errorf("%w: %.40s: %s", errNo, command, said)
	}
	apply(o.state)
	o.done++
	o.last = append(o.last[max(0, len(o.last)-30):], fmt.Sprintf("%.60q", command))
	if m := appendedUID.FindStringSubmatch(said); m != nil {
		for _, box := range o.state { // the last of one of them
			if n := len(box); n > 0 && strings.Contains(command, box[n-1].id) {
				return o.saw(m[1], m[2], box[n-1].id)
			}
		}
	}
	return nil
}

// ask sends a command and gives the text of its tagged answer.
func (c *imapClient) ask(command string) (string, error) {
	c.tag++
	tag := "A" + strconv.Itoa(c.tag)
	if _, err := c.conn.Write([]byte(tag + " " + command + "\r\n")); err != nil {
		return "", err
	}
	for {
		line, err := c.line()
		if err != nil {
			return "", err
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return rest, nil
		}
	}
}

const (
	soakMessages = 40 // in a mailbox, about
	soakBoxes    = 5
)

// turn does something to the account and gives the mailbox that is selected then.
func (o *owner) turn(c *imapClient, selected string) (string, error) {
	boxes := slices.Sorted(maps.Keys(o.state))
	other := boxes[o.dice.IntN(len(boxes))]
	n := len(o.state[selected])
	var err error
	switch dice := o.dice.IntN(100); {
	case n == 0 || dice < 35:
		if n > soakMessages {
			return selected, o.expunge(c, selected)
		}
		return selected, o.append(c, other)
	case dice < 60:
		return selected, o.flag(c, selected)
	case dice < 70:
		return selected, o.expunge(c, selected)
	case dice < 85:
		return selected, o.carry(c, selected, other, dice < 78)
	case dice < 90 && len(boxes) < soakBoxes:
		name := o.newName()
		err = o.change(c, "CREATE "+name, func(s soakState) { s[name] = nil })
	case dice < 95 && other != "INBOX":
		name := o.newName()
		err = o.change(c, "RENAME "+other+" "+name, func(s soakState) { s[name] = s[other]; delete(s, other) })
	case len(boxes) >= soakBoxes && other != "INBOX":
		err = o.change(c, "DELETE "+other, func(s soakState) { delete(s, other) })
	}
	if err != nil && !errors.Is(err, errNo) { // mailboxes are made only so fast
		return selected, err
	}
	boxes = slices.Sorted(maps.Keys(o.state))
	selected = boxes[o.dice.IntN(len(boxes))]
	_, err = c.do("SELECT " + selected)
	return selected, err
}

func (o *owner) newName() string {
	o.names++
	return fmt.Sprintf("box%d", o.names)
}

var soakFlags = []string{`\Answered`, `\Flagged`, `\Seen`}

func (o *owner) append(c *imapClient, box string) error {
	id, content := o.letters.Next()
	flag := soakFlags[o.dice.IntN(len(soakFlags))]
	command := fmt.Sprintf("APPEND %s (%s) {%d+}\r\n%s", box, flag, len(content), content)
	return o.change(c, command, func(s soakState) { s[box] = append(s[box], soakMessage{id, flag}) })
}

// stretch gives first and last of some messages of a mailbox, from 0.
func (o *owner) stretch(box string) (from, to int) {
	n := len(o.state[box])
	from = o.dice.IntN(n)
	return from, from + o.dice.IntN(min(n-from, 8))
}

func (o *owner) flag(c *imapClient, box string) error {
	from, to := o.stretch(box)
	flag, add := soakFlags[o.dice.IntN(len(soakFlags))], o.dice.IntN(2) == 0
	sign := map[bool]string{true: "+", false: "-"}[add]
	return o.change(c, fmt.Sprintf("STORE %d:%d %sFLAGS (%s)", from+1, to+1, sign, flag),
		func(s soakState) { setFlag(s[box][from:to+1], flag, add) })
}

func setFlag(messages []soakMessage, flag string, add bool) {
	for i := range messages {
		flags := slices.DeleteFunc(strings.Fields(messages[i].flags), func(f string) bool { return f == flag })
		if add {
			flags = append(flags, flag)
		}
		messages[i].flags = sortFlags(strings.Join(flags, " "))
	}
}

func (o *owner) expunge(c *imapClient, box string) error {
	from, to := o.stretch(box)
	err := o.change(c, fmt.Sprintf(`STORE %d:%d +FLAGS.SILENT (\Deleted)`, from+1, to+1),
		func(s soakState) { setFlag(s[box][from:to+1], `\Deleted`, true) })
	if err != nil {
		return err
	}
	return o.change(c, "EXPUNGE", func(s soakState) {
		s[box] = slices.DeleteFunc(slices.Clone(s[box]), func(m soakMessage) bool { return strings.Contains(m.flags, `\Deleted`) })
	})
}

// carry copies or moves.
func (o *owner) carry(c *imapClient, box, to string, keep bool) error {
	if to == box || len(o.state[to]) > soakMessages {
		return nil
	}
	first, last := o.stretch(box)
	command := map[bool]string{true: "COPY", false: "MOVE"}[keep]
	return o.change(c, fmt.Sprintf("%s %d:%d %s", command, first+1, last+1, to), func(s soakState) {
		s[to] = append(slices.Clone(s[to]), s[box][first:last+1]...)
		if !keep {
			s[box] = slices.Delete(slices.Clone(s[box]), first, last+1)
		}
	})
}

// births are the accounts that came to be, by number.
type births struct {
	mu   sync.Mutex // guards the fields below
	born int        // their first login was answered
	dice *rand.Rand
}

// young gives one of the last accounts, which are in most danger; false when
// there is none.
func (b *births) young() (n int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.born == 0 {
		return 0, false
	}
	return b.born - 1 - b.dice.IntN(min(b.born, 5)), true
}

// live makes accounts until the relay dies. Before, it looks whether some of
// those before are there.
func (b *births) live(ctx context.Context, s *server) error {
	for range 2 {
		n, ok := b.young()
		if !ok {
			break
		}
		c, err := dialIMAP(ctx, s.imap, person('b', n), coreHello())
		if err != nil && strings.Contains(err.Error(), "NO ") {
			return broken("account %d was born with another password", n)
		}
		if err != nil {
			return err
		}
		c.Close()
	}
	for n := b.born; ; n++ { // nobody else counts
		c, err := dialIMAP(ctx, s.imap, person('b', n), coreHello())
		if err != nil {
			return err
		}
		c.Close()
		b.mu.Lock()
		b.born++
		b.mu.Unlock()
	}
}

// doubt looks whether an account that was born is there: with another password
// nobody gets in, which takes the relay some seconds to say.
func (b *births) doubt(ctx context.Context, s *server) error {
	n, ok := b.young()
	if !ok {
		return wait(ctx, 10*time.Millisecond)
	}
	stranger := person('b', n)
	stranger.password += "-not"
	c, err := dialIMAP(ctx, s.imap, stranger, coreHello())
	if err == nil {
		c.Close()
		return broken("account %d was born and is gone", n)
	}
	if !strings.Contains(err.Error(), "NO ") {
		return err
	}
	return nil
}
