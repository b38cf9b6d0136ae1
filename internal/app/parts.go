package app

import (
	"io"
	"log/slog"
	"net"
	"time"

	"barid/imap"
	"barid/internal/admin"
	"barid/internal/appversions"
	"barid/internal/config"
	"barid/internal/metrics"
	"barid/smtp/submit"
	"barid/storage/local"
	"barid/web"
)

// storeConfig translates what the default engine needs.
func storeConfig(cfg *config.Config, n names, log *slog.Logger, m *metrics.Registry) local.Config {
	return local.Config{
		Dir:    cfg.DataDir,
		Domain: n.mail,
		Policy: local.Policy{
			UsernameMin:    cfg.Accounts.UsernameMinLength,
			UsernameMax:    cfg.Accounts.UsernameMaxLength,
			PasswordMin:    cfg.Accounts.PasswordMinLength,
			NameReuseAfter: time.Duration(cfg.Accounts.NameReuseAfter),
			Closed:         func() bool { return cfg.Accounts.Registration == config.RegistrationClosed },
		},
		Quota:       int64(cfg.Limits.MaxMailboxSize),
		MaxMessage:  int64(cfg.Limits.MaxMessageSize),
		NoSync:      cfg.Storage.Sync == config.SyncNever,
		FreshBytes:  int64(cfg.Storage.FreshMemory),
		SettleAfter: time.Duration(cfg.Storage.SettleAfter),
		QueueMax:    cfg.Federation.MaxQueued,
		Logger:      log,
		Metrics:     m,
	}
}

func (a *App) makeIMAP() error {
	a.versions = appversions.New(a.cfg.IMAP.AppVersions, a.log)
	a.imap = imap.New(imap.Config{
		Store:             a.store,
		Domain:            a.names.mail,
		TLS:               a.certs.TLSConfig(),
		Annotations:       a.announce,
		MaxMessageSize:    int64(a.cfg.Limits.MaxMessageSize),
		KeepAlive:         time.Duration(a.cfg.IMAP.Keepalive),
		LoginCapabilities: a.cfg.IMAP.LoginCapabilities,
		Compress:          a.cfg.IMAP.Compress,
		MaxSessions:       a.cfg.Limits.IMAPSessionsPerAccount,
		Logger:            a.log,
		Metrics:           a.metrics,
	})
	return nil
}

func (a *App) makeSubmit() error {
	a.submit = submit.New(submit.Config{
		Store:          a.store,
		Domain:         a.names.mail,
		Hostname:       a.names.host,
		TLS:            a.certs.TLSConfig(),
		MaxMessageSize: int64(a.cfg.Limits.MaxMessageSize),
		MaxRecipients:  a.cfg.Limits.MaxSMTPRecipients,
		RatePerMinute:  a.cfg.Limits.MaxUserSendPerMinute,
		RateBurst:      a.cfg.Limits.MaxUserSendBurstSize,
		Outbox:         a.outbox,
		Wake:           a.waker(),
		Logger:         a.log,
		Metrics:        a.metrics,
	})
	return nil
}

func (a *App) webConfig() web.Config {
	return web.Config{
		Domain:         a.names.mail,
		Host:           a.names.host,
		SelfSigned:     a.cfg.TLS.Mode == config.TLSSelfSigned,
		Registration:   a.registration,
		Invites:        a.webInvites(),
		UsernameLength: a.cfg.Accounts.UsernameMaxLength,
		PasswordMin:    a.cfg.Accounts.PasswordMinLength,
		Services:       services(a.cfg.Listen, a.names.host),
		Contact:        a.cfg.Contact.Admin,
		Limits:         webLimits(a.cfg),
		PushHost:       pushHost(a.cfg.Push),
		Policy:         policyText(a.cfg),
		Dir:            a.cfg.Web.Dir,
		NewBurst:       a.cfg.Limits.NewBurst,
		NewPerSecond:   float64(a.cfg.Limits.NewPerSecond),
		Client:         clientOf,
		Logger:         a.log,
		Metrics:        a.metrics,
	}
}

func (a *App) openAdmin() error {
	s, err := admin.Listen(a.cfg.DataDir, a.log)
	if err != nil {
		return err
	}
	a.admin = s
	a.handleTLS()
	a.handleRestart()
	a.onStop("status socket", s.Close)
	a.answerVerbs()
	return nil
}

// tooMany says a protocol's words to a client that met a bound on
// connections, before TLS.
func tooMany(line string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, line+"\r\n") }
}
