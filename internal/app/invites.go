package app

import (
	"context"
	"errors"
	"time"

	"barid/internal/admin"
	"barid/internal/invites"
	"barid/smtp"
	"barid/web"
)

// errNoInvites is told where there are none.
var errNoInvites = errors.New(`this relay takes no accounts by invitation: set registration = "invites" in the table [accounts] of its configuration and start it anew`)

// webInvites gives the pages what they ask about invitations.
func (a *App) webInvites() web.Invites {
	if a.births.book == nil {
		return nil
	}
	return reserver{a.births.book}
}

// reserver reserves addresses in the form in which the store asks for them.
type reserver struct{ *invites.Book }

func (r reserver) Reserve(token string, a smtp.Address) error {
	return r.Book.Reserve(token, a.Fold().Wire())
}

// InviteMake is the question of "POST /invites/make".
type InviteMake struct {
	Uses    int    `json:"uses"`
	Seconds int64  `json:"seconds"` // how long it is good
	Note    string `json:"note,omitempty"`
}

// InviteMade is its answer, the only one with the token.
type InviteMade struct {
	Invite Invite `json:"invite"`
	URI    string `json:"uri"`  // for the app
	Page   string `json:"page"` // for a browser
}

// Invite is an invitation as "POST /invites" lists it.
type Invite struct {
	ID       string    `json:"id"`
	Note     string    `json:"note,omitempty"`
	Uses     int       `json:"uses"`
	Left     int       `json:"left"`
	Born     int       `json:"born"`
	Reserved int       `json:"reserved"`
	Made     time.Time `json:"made"`
	Expires  time.Time `json:"expires"`
}

func inviteOf(i invites.Invite) Invite {
	return Invite{ID: i.ID, Note: i.Note, Uses: i.Uses, Left: i.Left(), Born: i.Born, Reserved: i.Reserved, Made: i.Made, Expires: i.Expires}
}

// InviteRevoke is the question of "POST /invites/revoke".
type InviteRevoke struct {
	ID string `json:"id"`
}

// handleInvites answers what "barid invites" asks.
func (a *App) handleInvites() {
	a.admin.Handle("POST /invites", admin.Answer(func(context.Context, struct{}) ([]Invite, error) {
		if a.births.book == nil {
			return nil, errNoInvites
		}
		list := []Invite{}
		for _, i := range a.births.book.List() {
			list = append(list, inviteOf(i))
		}
		return list, nil
	}))
	a.admin.Handle("POST /invites/make", admin.Answer(a.makeInvite))
	a.admin.Handle("POST /invites/revoke", admin.Answer(func(_ context.Context, q InviteRevoke) (struct{}, error) {
		if a.births.book == nil {
			return struct{}{}, errNoInvites
		}
		return struct{}{}, a.births.book.Revoke(q.ID)
	}))
}

func (a *App) makeInvite(_ context.Context, q InviteMake) (InviteMade, error) {
	if a.births.book == nil {
		return InviteMade{}, errNoInvites
	}
	life := time.Duration(min(max(q.Seconds, 0), int64(invites.MaxLife/time.Second)+1)) * time.Second
	token, made, err := a.births.book.Make(q.Uses, life, q.Note)
	if err != nil {
		return InviteMade{}, err
	}
	return InviteMade{inviteOf(made), web.InviteURI(a.names.mail, token), web.InvitePage(a.names.mail, token)}, nil
}
