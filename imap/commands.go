package imap

import (
	"errors"
	"strings"

	"barid/imap/wire"
	"barid/storage"
)

// command is one row of the table of commands.
type command struct {
	in  state
	run func(*session, *wire.Command) (string, error)
	// tell is what the client may learn about its mailbox before the answer.
	tell telling
	// bye: a fault of ours ends the connection instead of answering NO, which
	// clients take for "no results" and then skip mail.
	bye bool
}

// commandTable has every command that the server knows, by name.
func commandTable() map[string]*command {
	return map[string]*command{
		"CAPABILITY":   {in: anyState, run: (*session).capability},
		"NOOP":         {in: anyState, run: (*session).noop, tell: everything},
		"LOGOUT":       {in: anyState, run: (*session).logout},
		"ID":           {in: anyState, run: (*session).id},
		"STARTTLS":     {in: notAuthenticated, run: (*session).startTLS},
		"LOGIN":        {in: notAuthenticated, run: (*session).loginCommand},
		"AUTHENTICATE": {in: notAuthenticated, run: (*session).authenticate},
		"SELECT":       {in: loggedIn, run: (*session).selectBox, bye: true},
		"EXAMINE":      {in: loggedIn, run: (*session).examine, bye: true},
		"GETMETADATA":  {in: loggedIn, run: (*session).getMetadata, bye: true},
		"SETMETADATA":  {in: loggedIn, run: (*session).setMetadata, bye: true},
		"GETQUOTAROOT": {in: loggedIn, run: (*session).getQuotaRoot, bye: true},
		"GETQUOTA":     {in: loggedIn, run: (*session).getQuota, bye: true},
		"SETQUOTA":     {in: loggedIn, run: (*session).setQuota},
		"COMPRESS":     {in: loggedIn, run: (*session).compress},
		"IDLE":         {in: loggedIn, run: (*session).idle, bye: true},
		"NAMESPACE":    {in: loggedIn, run: (*session).namespace},
		"ENABLE":       {in: loggedIn, run: (*session).enable},
		"CREATE":       {in: loggedIn, run: (*session).create, tell: everything},
		"DELETE":       {in: loggedIn, run: (*session).delete, tell: everything},
		"RENAME":       {in: loggedIn, run: (*session).rename, tell: everything},
		"SUBSCRIBE":    {in: loggedIn, run: (*session).subscribe, tell: everything},
		"UNSUBSCRIBE":  {in: loggedIn, run: (*session).unsubscribe, tell: everything},
		"LIST":         {in: loggedIn, run: (*session).list, tell: everything},
		"LSUB":         {in: loggedIn, run: (*session).lsub, tell: everything},
		"STATUS":       {in: loggedIn, run: (*session).status, tell: everything},
		"APPEND":       {in: loggedIn, run: (*session).append, tell: everything},
		"CHECK":        {in: selected, run: (*session).noop, tell: everything},
		"CLOSE":        {in: selected, run: (*session).closeBox, bye: true},
		"UNSELECT":     {in: selected, run: (*session).unselectBox},
		"EXPUNGE":      {in: selected, run: (*session).expunge, tell: everything, bye: true},
		"UID EXPUNGE":  {in: selected, run: (*session).uidExpunge, tell: everything, bye: true},
		"FETCH":        {in: selected, run: (*session).fetch, bye: true},
		"UID FETCH":    {in: selected, run: (*session).uidFetch, bye: true},
		"STORE":        {in: selected, run: (*session).store, bye: true},
		"UID STORE":    {in: selected, run: (*session).uidStore, bye: true},
		"SEARCH":       {in: selected, run: (*session).search, tell: keepNumbers, bye: true},
		"UID SEARCH":   {in: selected, run: (*session).uidSearch, tell: everything, bye: true},
		"COPY":         {in: selected, run: (*session).copy, tell: keepNumbers},
		"UID COPY":     {in: selected, run: (*session).uidCopy, tell: everything},
		"MOVE":         {in: selected, run: (*session).move, tell: everything},
		"UID MOVE":     {in: selected, run: (*session).uidMove, tell: everything},
	}
}

// refusal is an answer NO, with its code.
type refusal string

func (r refusal) Error() string { return string(r) }

// noReply is what a command returns whose answer comes later or was given.
const noReply = ""

// command reads one command and answers it.
func (s *session) command() {
	c, err := s.in.Next(s.limits(), s.ask)
	if c == nil {
		s.broken(err)
		return
	}
	var row *command
	if err == nil {
		name := c.Name
		if name == "UID" {
			name += " " + c.Word()
		}
		row = s.sv.commands[name]
		switch {
		case c.Err() != nil:
			err = c.Err()
		case row == nil:
			err = wire.SyntaxError("Unknown command")
		case row.in&s.state == 0:
			err = wire.SyntaxError("Command not allowed in this state")
		}
	}
	if err != nil {
		s.answer(c, row, noReply, err)
		return
	}
	reply, err := row.run(s, c)
	if err == nil && reply != noReply {
		err = s.tell(row.tell, nil)
	}
	s.answer(c, row, reply, err)
}

// answer writes the tagged reply that belongs to err, or reply.
func (s *session) answer(c *wire.Command, row *command, reply string, err error) {
	if s.over.Load() {
		return
	}
	if err != nil {
		if reply = s.replyFor(row, err); reply == noReply {
			return
		}
		defer func() { s.abandon(c) }()
	}
	if reply == noReply {
		return
	}
	out := s.writer()
	if c.Tag == "" {
		out.Raw("*")
	}
	out.Raw(c.Tag)
	out.Raw(" ")
	out.Text(reply)
	out.EOL()
}

// abandon drops what the client still sends of a command that was refused. It
// has its answer before.
func (s *session) abandon(c *wire.Command) {
	if c.Pending() {
		s.writer().Flush() // an error comes again
	}
	if err := c.Abandon(); err != nil {
		s.broken(err)
	}
}

// replyFor gives the answer for an error, or none after it ended the
// connection.
func (s *session) replyFor(row *command, err error) string {
	if syntax, ok := errors.AsType[wire.SyntaxError](err); ok {
		if s.bad++; s.bad > maxBad {
			s.bye("Too many bad commands")
			return noReply
		}
		return "BAD " + string(syntax)
	}
	if no, ok := errors.AsType[refusal](err); ok {
		return "NO " + string(no)
	}
	if _, ok := errors.AsType[wire.TooBigError](err); ok {
		return "NO [LIMIT] Literal too big"
	}
	inBox := row != nil && row.bye && row.in == selected
	if no := storageRefusal(err); no != "" && !inBox {
		return "NO " + no
	}
	if errors.Is(err, errGone) || inBox && errors.Is(err, storage.ErrNoMailbox) {
		s.bye("The mailbox is gone")
		return noReply
	}
	if errors.Is(err, storage.ErrNoAccount) { // deleted while this session was
		s.bye("The account is gone")
		return noReply
	}
	if !errors.Is(err, errFault) {
		// The stream is broken: nothing that is sent now would be understood.
		s.broken(err)
		return noReply
	}
	s.sv.failures.Inc()
	s.sv.log.Error("command failed", "account", s.account.Address, "error", err)
	if row == nil || row.bye {
		s.bye("Internal error, please come back later")
		return noReply
	}
	return "NO [UNAVAILABLE] Internal error, please try again later"
}

// broken ends a connection that lost its place in the stream.
func (s *session) broken(err error) {
	switch {
	case errors.Is(err, wire.ErrLine):
		s.bye("Line too long")
	case errors.Is(err, wire.ErrLiteral):
		s.bye("Literal refused")
	default:
		s.lost(err)
	}
}

// errFault is inside errors that come from the store, not from the client.
var errFault = errors.New("store")

// fault marks an error of the store.
func fault(err error) error {
	if err == nil {
		return nil
	}
	return &storeError{err}
}

type storeError struct{ error }

func (e *storeError) Is(target error) bool { return target == errFault }
func (e *storeError) Unwrap() error        { return e.error }

// storageRefusal gives the words for what the client can do nothing against
// but know.
func storageRefusal(err error) string {
	switch {
	case errors.Is(err, storage.ErrNoMailbox):
		return "[NONEXISTENT] No such mailbox"
	case errors.Is(err, storage.ErrMailboxExists):
		return "[ALREADYEXISTS] Mailbox exists"
	case errors.Is(err, storage.ErrMailboxName):
		return "[CANNOT] No mailbox can have this name"
	case errors.Is(err, storage.ErrQuota):
		return "[OVERQUOTA] Quota exceeded (mailbox for user is full)"
	case errors.Is(err, storage.ErrFull): // the operator learns of it from the store
		return "[UNAVAILABLE] There is no room, please try again later"
	case errors.Is(err, storage.ErrEntry):
		return "[CANNOT] This entry cannot be set"
	}
	return ""
}

// commit does one operation.
func (s *session) commit(op storage.Op) (storage.Outcome, error) {
	res, err := s.sv.cfg.Store.Commit(s.ctx, storage.Batch{Ops: []storage.Op{op}})
	if err != nil {
		return storage.Outcome{}, fault(err)
	}
	return res.Per[0], fault(res.Per[0].Err)
}

func (s *session) noop(c *wire.Command) (string, error) {
	name := strings.ToUpper(c.Name[:1]) + strings.ToLower(c.Name[1:])
	return "OK " + name + " completed", c.End()
}

func (s *session) logout(c *wire.Command) (string, error) {
	if err := c.End(); err != nil {
		return noReply, err
	}
	out := s.writer()
	out.Raw("* BYE Logging out\r\n")
	out.Raw(c.Tag)
	out.Raw(" OK Logout completed\r\n")
	s.flush()
	s.over.Store(true)
	return noReply, nil
}

func (s *session) id(c *wire.Command) (string, error) {
	c.SP()
	if c.Next('(') {
		key, name := true, ""
		c.List(func() {
			if key {
				name = strings.ToLower(c.String())
			} else if v, _ := c.NString(); name == "name" && v == "Delta Chat" {
				s.deltaID = true
			}
			key = !key
		})
	} else {
		c.NString()
	}
	if err := c.End(); err != nil {
		return noReply, err
	}
	s.writer().Raw("* ID (\"name\" \"barid\")\r\n")
	return "OK ID completed", nil
}
