package deltachat

import (
	"strings"
	"time"
)

// SecureJoinQR gives the invite that another account joins with.
func (a *Account) SecureJoinQR() string {
	a.core.t.Helper()
	var qr string
	a.core.must(&qr, "get_chat_securejoin_qr_code", a.ID, nil)
	return qr
}

// SecureJoin accepts an invite and gives the chat with its maker. The
// handshake goes on: see Join.
func (a *Account) SecureJoin(qr string) (chat uint32) {
	a.core.t.Helper()
	a.core.must(&chat, "secure_join", a.ID, qr)
	return chat
}

// Join makes a and inviter know each other's keys and gives the chat on
// either side.
func (a *Account) Join(inviter *Account, timeout time.Duration) (mine, theirs uint32) {
	a.core.t.Helper()
	return a.JoinBy(inviter, inviter.SecureJoinQR(), timeout)
}

// JoinBy is Join with an invite of inviter's that was changed on the way.
func (a *Account) JoinBy(inviter *Account, qr string, timeout time.Duration) (mine, theirs uint32) {
	a.core.t.Helper()
	done := func(e Event) bool { return e.Progress == 1000 }
	mine = a.SecureJoin(qr)
	a.WaitEvent("SecurejoinJoinerProgress", done, timeout)
	e := inviter.WaitEvent("SecurejoinInviterProgress", done, timeout)
	return mine, inviter.ChatWith(e.Contact)
}

// ChatWith gives the chat with one contact.
func (a *Account) ChatWith(contact uint32) (chat uint32) {
	a.core.t.Helper()
	a.core.must(&chat, "create_chat_by_contact_id", a.ID, contact)
	return chat
}

// CreateContact makes a contact of an address, with no key known.
func (a *Account) CreateContact(address string) (contact uint32) {
	a.core.t.Helper()
	a.core.must(&contact, "create_contact", a.ID, address, nil)
	return contact
}

// Contacts gives the ids of those in a chat, without the account itself.
func (a *Account) Contacts(chat uint32) []uint32 {
	a.core.t.Helper()
	const self = 1
	var all, others []uint32
	a.core.must(&all, "get_chat_contacts", a.ID, chat)
	for _, c := range all {
		if c != self {
			others = append(others, c)
		}
	}
	return others
}

// CreateGroup makes a group with nobody else in it. It becomes known to its
// members with the first message.
func (a *Account) CreateGroup(name string) (chat uint32) {
	a.core.t.Helper()
	a.core.must(&chat, "create_group_chat", a.ID, name, false)
	return chat
}

// AddContactToGroup adds a member.
func (a *Account) AddContactToGroup(chat, contact uint32) {
	a.core.t.Helper()
	a.core.must(nil, "add_contact_to_chat", a.ID, chat, contact)
}

// AcceptChat takes a chat out of the requests.
func (a *Account) AcceptChat(chat uint32) {
	a.core.t.Helper()
	a.core.must(nil, "accept_chat", a.ID, chat)
}

// SendText puts a text on its way and gives its message id.
func (a *Account) SendText(chat uint32, text string) (message uint32) {
	a.core.t.Helper()
	a.core.must(&message, "misc_send_text_message", a.ID, chat, text)
	return message
}

// SendFile puts a file on its way, octet for octet: the core would shrink
// what is sent as a picture.
func (a *Account) SendFile(chat uint32, text, path string) (message uint32) {
	a.core.t.Helper()
	data := map[string]any{"text": text, "file": path, "viewtype": "File"}
	a.core.must(&message, "send_msg", a.ID, chat, data)
	return message
}

// GetMessage reads a message.
func (a *Account) GetMessage(id uint32) (m Message) {
	a.core.t.Helper()
	a.core.must(&m, "get_message", a.ID, id)
	return m
}

// MessageState reads the state of a message: one of the State constants.
func (a *Account) MessageState(id uint32) int { a.core.t.Helper(); return a.GetMessage(id).State }

// MessageID gives the Message-ID of a message, without brackets.
func (a *Account) MessageID(id uint32) string {
	a.core.t.Helper()
	var info struct {
		MessageID string `json:"rfc724Mid"`
	}
	a.core.must(&info, "get_message_info_object", a.ID, id)
	return info.MessageID
}

// Delete deletes messages, on the relay too.
func (a *Account) Delete(ids ...uint32) {
	a.core.t.Helper()
	a.core.must(nil, "delete_messages", a.ID, ids)
}

// MarkSeen says that the user has read the messages, which sends receipts.
func (a *Account) MarkSeen(ids ...uint32) {
	a.core.t.Helper()
	a.core.must(nil, "markseen_msgs", a.ID, ids)
}

// Messages reads the messages of a chat, oldest first, without those that the
// core itself wrote.
func (a *Account) Messages(chat uint32) []Message {
	a.core.t.Helper()
	var ids []uint32
	a.core.must(&ids, "get_message_ids", a.ID, chat, false, false)
	var out []Message
	for _, id := range ids {
		if m := a.GetMessage(id); !m.Info {
			out = append(out, m)
		}
	}
	return out
}

// WaitText waits for an incoming message with exactly that text.
func (a *Account) WaitText(text string, timeout time.Duration) Message {
	a.core.t.Helper()
	e := a.WaitEvent("IncomingMsg", func(e Event) bool {
		var m Message
		if err := a.core.Call(&m, "get_message", a.ID, e.Message); err != nil {
			return false
		}
		// The core writes behind the text what is still to be downloaded.
		return m.Text == text || m.DownloadState != "Done" && strings.HasPrefix(m.Text, text+" [")
	}, timeout)
	return a.GetMessage(e.Message)
}

// WaitOwnText waits for a message with that text that another device of the
// account has sent.
func (a *Account) WaitOwnText(text string, timeout time.Duration) Message {
	a.core.t.Helper()
	const self = 1
	e := a.WaitEvent("MsgsChanged", func(e Event) bool {
		var m Message
		err := a.core.Call(&m, "get_message", a.ID, e.Message)
		return err == nil && m.From == self && m.Text == text
	}, timeout)
	return a.GetMessage(e.Message)
}

// WaitState waits until a message of ours got that state, or went past it; one
// that the relay refused ends the test.
func (a *Account) WaitState(id uint32, state int, timeout time.Duration) {
	a.core.t.Helper()
	kind := map[int]string{StateDelivered: "MsgDelivered", StateRead: "MsgRead"}[state]
	if kind == "" {
		a.core.t.Fatalf("%s: no event tells of state %d", a.Name, state)
	}
	deadline := time.Now().Add(timeout)
	for {
		m := a.GetMessage(id)
		if m.State >= state {
			return
		}
		if m.State == StateFailed {
			a.core.t.Fatalf("%s: message %d was refused: %s", a.Name, id, strings.TrimSpace(m.ErrorText))
		}
		about := func(e Event) bool { return e.Message == id }
		if _, err := a.waitEvent(kind, about, time.Until(deadline)); err != nil {
			a.core.t.Fatalf("%s: message %d has state %d, not %d: %v", a.Name, id, m.State, state, err)
		}
	}
}

// WaitDownloaded waits until all of a message is here: large ones come in two
// parts, of which the first says what the second will be.
func (a *Account) WaitDownloaded(id uint32, timeout time.Duration) Message {
	a.core.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		m := a.GetMessage(id)
		if m.DownloadState == "Done" && m.File != "" {
			return m
		}
		about := func(e Event) bool { return e.Message == id }
		if _, err := a.waitEvent("MsgsChanged", about, time.Until(deadline)); err != nil {
			a.core.t.Fatalf("%s: message %d is not downloaded (%s): %v", a.Name, id, m.DownloadState, err)
		}
	}
}
