package config

// Config is everything that can be configured. Fields with the tag `toml` are
// the keys and tables of the file, in the order of the sample.
//
// The comments of the fields are printed by Sample: a comment begins with the
// name of its field, speaks of other keys by their dotted names, and ends with
// its default.
type Config struct {
	// Domain is the mail domain, the part behind the "@" of every account: a
	// name such as chat.example.org, a name that begins with "_" (a relay that
	// never has a certificate of a public authority), or an IPv4 address (its
	// accounts are name@[192.0.2.1]). It is the only key that must be set.
	Domain string `toml:"domain"`

	// DataDir is the directory that holds all state: mail, accounts, keys and
	// the socket that "barid status" asks. One process at a time uses it. A
	// relative path starts at the directory of this file.
	// Default "/var/lib/barid" for root, "barid-data" for others.
	DataDir string `toml:"data_dir"`

	Listen   Listen   `toml:"listen"`
	TLS      TLS      `toml:"tls"`
	ACME     ACME     `toml:"acme"`
	Accounts Accounts `toml:"accounts"`
	Expiry   Expiry   `toml:"expiry"`
	Limits   Limits   `toml:"limits"`
	Storage  Storage  `toml:"storage"`
	IMAP     IMAP     `toml:"imap"`
	Push     Push     `toml:"push"`
	Log      Log      `toml:"log"`
	Iroh     Iroh     `toml:"iroh"`
	DERP     DERP     `toml:"derp"`
	TURN     TURN     `toml:"turn"`
	Contact  Contact  `toml:"contact"`
	Web      Web      `toml:"web"`

	DNS        DNS        `toml:"dns"`
	DKIM       DKIM       `toml:"dkim"`
	Federation Federation `toml:"federation"`
}

// Listen has the addresses that are listened on. Each key takes a list of
// "address:port", at most 16; the empty list turns the listener off. "[::]" is
// every address of the machine, IPv4 too. "unix:/path" is a Unix socket, for a
// web server or proxy on this machine.
type Listen struct {
	// IMAPS is IMAP with TLS from the first octet. Default ["[::]:993"].
	IMAPS []string `toml:"imaps"`
	// IMAP is IMAP with STARTTLS, demanded before login. Default ["[::]:143"].
	IMAP []string `toml:"imap"`
	// Submissions takes mail of our accounts with TLS from the first octet.
	// Default ["[::]:465"].
	Submissions []string `toml:"submissions"`
	// Submission takes mail of our accounts with STARTTLS, demanded before
	// login. Default ["[::]:587"].
	Submission []string `toml:"submission"`
	// SMTP takes mail of other servers for our accounts, with STARTTLS, demanded
	// before mail. Default ["[::]:25"].
	SMTP []string `toml:"smtp"`
	// HTTPS serves the web pages and, told apart by ALPN, IMAP and submission.
	// Default ["[::]:443"].
	HTTPS []string `toml:"https"`
	// HTTP sends browsers on to HTTPS. Default ["[::]:80"].
	HTTP []string `toml:"http"`
	// IMAPClear is IMAP with login in the clear, for laboratories: loopback
	// addresses only. Default [].
	IMAPClear []string `toml:"imap_clear"`
	// SubmissionClear is submission with login in the clear, for laboratories:
	// loopback addresses only. Default [].
	SubmissionClear []string `toml:"submission_clear"`
	// HTTPClear serves the web pages and the iroh relay without TLS, for
	// laboratories and for a server of one's own in front: loopback and private
	// addresses only. Default [].
	HTTPClear []string `toml:"http_clear"`
	// TURN relays calls, over UDP and TCP. Default ["[::]:3478"].
	TURN []string `toml:"turn"`
	// TURNS relays calls inside TLS, over TCP; listen.https does so too.
	// Default ["[::]:5349"].
	TURNS []string `toml:"turns"`
	// Metrics serves /metrics in the Prometheus text format: loopback and
	// private addresses only. Default [].
	Metrics []string `toml:"metrics"`
	// Proxies are the networks of proxies that stand in front of listeners and
	// speak the PROXY protocol, version 1 or 2, so that the relay knows its
	// clients: "192.0.2.0/24", an address, or "unix" for all Unix sockets. A
	// connection from there must begin with the protocol's header, from anywhere
	// else such a header is refused. Default [].
	Proxies []string `toml:"proxies"`
}

// Values of TLS.Mode.
const (
	TLSACME       = "acme"
	TLSSelfSigned = "self-signed"
	TLSFiles      = "files"
)

// TLS says where the certificate comes from.
type TLS struct {
	// Mode is "acme" (a certificate is got from an authority and renewed, see the
	// table acme; a self-signed one serves until it is there), "files" (tls.cert
	// and tls.key), or "self-signed" (a key and a certificate are made in data_dir
	// and kept). A domain that begins with "_", and an address, are
	// "self-signed" unless this key says otherwise. Default "acme".
	Mode string `toml:"mode"`
	// Cert is the PEM file of the certificate chain, the relay's own first; for
	// mode "files" only. A relative path starts at the directory of this file.
	// Default "".
	Cert string `toml:"cert"`
	// Key is the PEM file of the private key; for mode "files" only. A relative
	// path starts at the directory of this file. Default "".
	Key string `toml:"key"`
	// Names are further names and addresses that clients call the relay; for the
	// modes "acme" and "self-signed", at most 16. The domain and, where it is a
	// name, its "www." and "mta-sts." names are always there. Default [].
	Names []string `toml:"names"`
	// Roots is a PEM file of certificates that are trusted beside the system's
	// when the relay itself connects to others, to the push gateway for one; for
	// laboratories. A relative path starts at the directory of this file.
	// Default "".
	Roots string `toml:"roots"`
}

// ACME says who issues the certificate of tls.mode "acme". Names are proved on
// listen.https and listen.http, which the Internet must see as ports 443 and
// 80, or by updates of the zone when acme.dns_server is set.
type ACME struct {
	// Directory is the URL of the authority's ACME directory.
	// Default "https://acme-v02.api.letsencrypt.org/directory".
	Directory string `toml:"directory"`
	// Email is told to the authority as our contact; may be empty. Default "".
	Email string `toml:"email"`
	// Profile is the kind of certificate to ask for, by the authority's name for
	// it; empty leaves it to the authority, and asks for "shortlived" where the
	// domain is an address. Default "".
	Profile string `toml:"profile"`
	// Roots is a PEM file of certificates that are trusted for connections to the
	// authority beside the system's; for authorities of one's own. Default "".
	Roots string `toml:"roots"`
	// EABKeyID is the name of an account that exists at the authority and that
	// ours is bound to (external account binding). Default "".
	EABKeyID string `toml:"eab_key_id"`
	// EABKeyFile is the file with that account's MAC key, in base64url as the
	// authority gives it. Default "".
	EABKeyFile string `toml:"eab_key_file"`
	// SecondDirectory is the ACME directory of an authority that is asked when
	// the first does not issue; may be empty. Default "".
	SecondDirectory string `toml:"second_directory"`
	// SecondEABKeyID is as acme.eab_key_id, for the second authority. Default "".
	SecondEABKeyID string `toml:"second_eab_key_id"`
	// SecondEABKeyFile is as acme.eab_key_file, for the second authority.
	// Default "".
	SecondEABKeyFile string `toml:"second_eab_key_file"`
	// DNSServer is the "address:port" of the zone's primary name server; when it
	// is set, names are proved by dynamic updates of the zone (RFC 2136), so that
	// neither port 80 nor 443 need be reachable. Default "".
	DNSServer string `toml:"dns_server"`
	// DNSKeyName is the name of the TSIG key that signs the updates. Default "".
	DNSKeyName string `toml:"dns_key_name"`
	// DNSKeyAlgorithm is that key's algorithm: "hmac-sha224", "hmac-sha256",
	// "hmac-sha384" or "hmac-sha512". Default "hmac-sha256".
	DNSKeyAlgorithm string `toml:"dns_key_algorithm"`
	// DNSKeyFile is the file with that key's secret, in base64. Default "".
	DNSKeyFile string `toml:"dns_key_file"`
}

// Values of Accounts.Registration.
const (
	RegistrationOpen    = "open"
	RegistrationInvites = "invites"
	RegistrationClosed  = "closed"
)

// Accounts says which accounts may be born. An account is born at its first
// login.
type Accounts struct {
	// UsernameMinLength is the shortest name of a new account, in characters,
	// 1 to 64. Default 9.
	UsernameMinLength int `toml:"username_min_length"`
	// UsernameMaxLength is the longest name of a new account, in characters, 1
	// to 64; also the length of the names that /new invents. Default 9.
	UsernameMaxLength int `toml:"username_max_length"`
	// PasswordMinLength is the shortest password of a new account, in octets, 1
	// to 128. Default 9.
	PasswordMinLength int `toml:"password_min_length"`
	// Registration is "open" (a first login makes the account), "invites" (only
	// at an address that /new gave for an invitation of "barid invites make"), or
	// "closed" (no account is made, and /new offers none). What is open here,
	// "barid registration close" closes and opens while the relay runs.
	// Default "open".
	Registration string `toml:"registration"`
	// NameReuseAfter is how long the name of an account that was removed can be
	// born again only with the password that it had, so that nobody takes the
	// place of somebody whom others still write to; "1h" to "36500d", or "0s"
	// when it is free at once. Default "365d".
	NameReuseAfter Duration `toml:"name_reuse_after"`
}

// Expiry says how old what is kept may get. It is judged once a day, by the
// time of arrival here. "0s" means never. Apart from this the oldest mail leaves
// a mailbox that gets full, see limits.max_mailbox_size.
type Expiry struct {
	// DeleteMailsAfter is the age at which a message leaves, of whatever mailbox,
	// "1h" to "36500d", or "0s". Default "20d".
	DeleteMailsAfter Duration `toml:"delete_mails_after"`
	// DeleteLargeAfter is the age at which a message larger than 200000 octets
	// leaves, if a client has read it, flagged it or put it there; one that no
	// client knows waits for expiry.delete_mails_after. "1h" to "36500d", or
	// "0s". Default "7d".
	DeleteLargeAfter Duration `toml:"delete_large_after"`
	// DeleteInactiveUsersAfter is the time without a login, for reading or for
	// sending, after which an account is removed with all it has, "1d" to
	// "36500d", or "0s". Logins count by the day. Default "90d".
	DeleteInactiveUsersAfter Duration `toml:"delete_inactive_users_after"`
}

// Limits bounds what clients may use. Sizes are octets, or a string with one of
// the units K, M, G, T (each 1024 times the one before).
type Limits struct {
	// MaxMessageSize is the largest message taken, "1K" to "1G". Default "30M".
	MaxMessageSize Size `toml:"max_message_size"`
	// MaxMailboxSize is the quota of an account, from limits.max_message_size to
	// "16T". When a message fills it above three quarters, the oldest messages
	// leave until seven tenths are left, but none younger than a day: a mailbox
	// full of those takes no more. Default "500M".
	MaxMailboxSize Size `toml:"max_mailbox_size"`
	// MaxUserSendPerMinute is how many messages an account may send per minute
	// over time, at least 1. Default 60.
	MaxUserSendPerMinute int `toml:"max_user_send_per_minute"`
	// MaxUserSendBurstSize is how many messages an account may send at once
	// after a pause, at least 1. Default 10.
	MaxUserSendBurstSize int `toml:"max_user_send_burst_size"`
	// MaxSMTPRecipients is how many recipients a message may have; announced to
	// clients. 1 to 10000. Default 1000.
	MaxSMTPRecipients int `toml:"max_smtp_recipients"`
	// MaxConnections bounds the connections of all listeners together; 0 for no
	// bound. Default 20000.
	MaxConnections int `toml:"max_connections"`
	// MaxIMAPConnections bounds the connections of each IMAP listener; 0 for no
	// bound. Default 10000.
	MaxIMAPConnections int `toml:"max_imap_connections"`
	// MaxSMTPConnections bounds the connections of each submission listener; 0
	// for no bound. Default 1000.
	MaxSMTPConnections int `toml:"max_smtp_connections"`
	// IMAPPerClient bounds the IMAP connections of one client, which is an IPv4
	// address or an IPv6 /64; 0 for no bound. Default 1000.
	IMAPPerClient int `toml:"imap_per_client"`
	// SubmissionPerClient bounds the submission connections of one client; 0 for
	// no bound. Default 200.
	SubmissionPerClient int `toml:"submission_per_client"`
	// MaxReceiveConnections bounds the connections of other servers to
	// listen.smtp; 0 for no bound. Default 1000.
	MaxReceiveConnections int `toml:"max_receive_connections"`
	// ReceivePerClient bounds the connections of one other server to
	// listen.smtp; 0 for no bound. Default 50.
	ReceivePerClient int `toml:"receive_per_client"`
	// ReceivePerMinute is how many messages one other server may deliver per
	// minute over time, at least 1. Default 6000.
	ReceivePerMinute int `toml:"receive_per_minute"`
	// ReceiveBurst is how many messages one other server may deliver at once
	// after a pause, at least 1. Default 1000.
	ReceiveBurst int `toml:"receive_burst"`
	// HTTPSPerClient bounds the connections of one client to listen.https,
	// whatever they speak, and to listen.http; 0 for no bound. Default 1000.
	HTTPSPerClient int `toml:"https_per_client"`
	// TURNPerClient bounds the connections of one client to listen.turn and
	// listen.turns, over TCP; 0 for no bound. Default 200.
	TURNPerClient int `toml:"turn_per_client"`
	// IMAPSessionsPerAccount bounds the IMAP sessions that are logged in to one
	// account from one client address, at most 10000; 0 for no bound.
	// Default 100.
	IMAPSessionsPerAccount int `toml:"imap_sessions_per_account"`
	// NewBurst is how many accounts one network (an IPv4 /24, an IPv6 /48) may
	// ask /new for at once after a pause, at least 1. Default 100.
	NewBurst int `toml:"new_burst"`
	// NewPerSecond is how many accounts per second one network may ask /new for
	// over time, at least 1. Default 1.
	NewPerSecond int `toml:"new_per_second"`
	// SignupBurst is how many accounts may be born from one network (an IPv4 /24,
	// an IPv6 /48) at once after a pause; 0 for no bound, over time neither. It
	// is counted in memory only. Default 100.
	SignupBurst int `toml:"signup_burst"`
	// SignupPerSecond is how many accounts per second may be born from one
	// network over time, at least 1. Default 1.
	SignupPerSecond int `toml:"signup_per_second"`
	// MaxLoad1m is the load of the machine, as uptime shows it for the last
	// minute, above which no account is born; 0 for no bound. Births begin again
	// a tenth below it. Default 5.
	MaxLoad1m float64 `toml:"max_load_1m"`
	// MinAvailableMemory is the memory of the machine, or of the cgroup, that
	// must be available for an account to be born; 0 for no bound. Births begin
	// again a tenth above it. Default "200M".
	MinAvailableMemory Size `toml:"min_available_memory"`
	// MinFreeDiskSpace is what must be free where data_dir is for an account to
	// be born; 0 for no bound. Births begin again a tenth above it. Default "1G".
	MinFreeDiskSpace Size `toml:"min_free_disk_space"`
	// MinFreeInodes is how many more files the file system of data_dir must take
	// for an account to be born; 0 for no bound. Births begin again a tenth above
	// it. Default 20000.
	MinFreeInodes int `toml:"min_free_inodes"`
}

// Values of Storage.Sync.
const (
	SyncAlways = "always"
	SyncNever  = "never"
)

// Storage says how mail is kept.
type Storage struct {
	// Sync is "always" (what was acknowledged survives a power cut) or "never"
	// (it survives the end of the process, not of the machine).
	// Default "always".
	Sync string `toml:"sync"`
	// FreshMemory bounds the memory for messages that are not yet files, "1M" to
	// "16G". Default "32M".
	FreshMemory Size `toml:"fresh_memory"`
	// SettleAfter is how long a message that nobody deletes waits until it
	// becomes a file, "1s" to "10m". Default "10s".
	SettleAfter Duration `toml:"settle_after"`
}

// AppVersionsShipped is the value of IMAP.AppVersions that is no file.
const AppVersionsShipped = "shipped"

// IMAP shapes IMAP sessions.
type IMAP struct {
	// Keepalive is how long an idle session is silent until the server says
	// something, so that no network on the way forgets the connection; "10s" to
	// "29m". Default "4m".
	Keepalive Duration `toml:"keepalive"`
	// LoginCapabilities are the capabilities in the answer to LOGIN, IMAP4rev1
	// among them. Each of them can cost a client a round trip; the answer to
	// CAPABILITY has them all. Delta Chat compresses when COMPRESS=DEFLATE is
	// here, which wants compress.
	// Default ["IMAP4rev1", "IDLE", "METADATA", "XCHATMAIL", "XDELTAPUSH", "LITERAL+", "QUOTA"].
	LoginCapabilities []string `toml:"login_capabilities"`
	// AppVersions is the list of current app versions that clients read to tell
	// of updates: "shipped" for the one in this program, empty for none, or a
	// JSON file, which is read again when it changes. Default "shipped".
	AppVersions string `toml:"app_versions"`
	// Compress offers COMPRESS=DEFLATE (RFC 4978): about a quarter less to
	// transmit, for a round trip per connection and up to 32 KiB of memory for
	// each session that uses it. Default false.
	Compress bool `toml:"compress"`
}

// Push says how devices that sleep are woken when mail comes: each has left a
// token with its account, which is posted to a gateway that the platform's own
// service listens to. A request has the token and nothing else.
type Push struct {
	// Enabled has devices woken; false keeps their tokens and wakes nobody.
	// Default true.
	Enabled bool `toml:"enabled"`
	// URL is that of the gateway, beginning with "https://" or, in laboratories,
	// "http://". Its certificate may be one of tls.roots.
	// Default "https://notifications.delta.chat/notify".
	URL string `toml:"url"`
}

// Values of Log.Format.
const (
	LogText = "text"
	LogJSON = "json"
)

// Log shapes the log, which goes to standard error and never has an address,
// an IP or a password in it.
type Log struct {
	// Level is the least that is logged: "debug", "info", "warn" or "error".
	// Default "info".
	Level string `toml:"level"`
	// Format is "text" or "json". Default "text".
	Format string `toml:"format"`
}

// Iroh is the relay over which in-chat apps of clients find each other and,
// where they cannot reach each other directly, exchange their data. It is
// served at /relay by listen.https and listen.http_clear, to clients of other
// servers too; what passes is encrypted from end to end.
type Iroh struct {
	// Enabled serves the relay. Default true.
	Enabled bool `toml:"enabled"`
	// URL is the relay that clients are told to use, beginning with "https://" or
	// "http://": this one under another name, or another one. When it is empty
	// they are told to use this one, at the domain; with iroh.enabled = false
	// none, and then they use public relays. Default "".
	URL string `toml:"url"`
	// MaxClients bounds the connections to the relay; 0 for no bound.
	// Default 10000.
	MaxClients int `toml:"max_clients"`
	// PerClient bounds the connections to the relay of one client, which is an
	// IPv4 address or an IPv6 /64; 0 for no bound. Default 250.
	PerClient int `toml:"per_client"`
	// BytesPerSecond is how much one connection may send over time, "64K" to
	// "16G", or 0 for no bound. Default "4M".
	BytesPerSecond Size `toml:"bytes_per_second"`
	// Burst is how much one connection may send at once after a pause, "64K" to
	// "16G". Default "16M".
	Burst Size `toml:"burst"`
	// Memory bounds the memory of what waits for clients that read slowly, and of
	// who hears when a client is gone, "1M" to "16G". Default "128M".
	Memory Size `toml:"memory"`
}

// DERP is a relay for an operator's own tailnet, at /derp of listen.https and
// listen.http_clear. No client of Delta Chat or iroh uses it.
type DERP struct {
	// Enabled serves it. Default false.
	Enabled bool `toml:"enabled"`
	// VerifyURL is asked whether a client may come in, as "derper" asks the URL
	// of its flag verify-client-url: it begins with "https://" or "http://".
	// Without it the relay would be open to the world, so it must be set where
	// derp.enabled is true. It is told the key and the IP address of each client.
	// Default "".
	VerifyURL string `toml:"verify_url"`
	// MaxClients bounds the connections; 0 for no bound. Default 1000.
	MaxClients int `toml:"max_clients"`
}

// TURN relays the calls of clients that cannot reach each other. Accounts get
// credentials for it, each good for five days or more; nobody else can use it,
// and nobody can reach what is inside: private networks, this host.
type TURN struct {
	// Enabled serves it. Without it clients use a public one. Default true.
	Enabled bool `toml:"enabled"`
	// Announce is the name or IPv4 address that clients are told; they use the
	// port of the first address of listen.turn. Empty is the domain. Default "".
	Announce string `toml:"announce"`
	// External are the addresses that the world knows this host by, where it has
	// others itself because a NAT stands before it: at most one IPv4 and one IPv6
	// address. The NAT must lead the ports from turn.min_port to turn.max_port
	// here, unchanged. Default [].
	External []string `toml:"external"`
	// MinPort is the first UDP port that calls are relayed at, from 1024. A
	// firewall must let those up to turn.max_port in. Default 49152.
	MinPort int `toml:"min_port"`
	// MaxPort is the last of these ports. Each allocation takes one.
	// Default 65535.
	MaxPort int `toml:"max_port"`
	// AllowPeers are networks inside that may be called all the same, such as
	// "10.1.0.0/16"; this host's own addresses are never among them.
	// Default [].
	AllowPeers []string `toml:"allow_peers"`
	// MaxAllocations bounds the allocations of all clients; a call takes two or
	// more. Default 1000.
	MaxAllocations int `toml:"max_allocations"`
	// PerAccount bounds the allocations of one account. Default 10.
	PerAccount int `toml:"per_account"`
	// BytesPerSecond is how much may pass through one allocation over time, both
	// ways together and with the headers of datagrams, "16K" to "16G".
	// Default "1M".
	BytesPerSecond Size `toml:"bytes_per_second"`
	// BytesPerDay is how much may pass for one account in a day, counted in the
	// same way, "1M" to "1024T". Default "20G".
	BytesPerDay Size `toml:"bytes_per_day"`
	// Idle is how long an allocation stays through which nothing passes, "1m" to
	// "1h". Default "10m".
	Idle Duration `toml:"idle"`
}

// Contact tells clients whom to ask.
type Contact struct {
	// Admin is the mail address of who runs the relay, announced to clients;
	// empty announces none. Default "".
	Admin string `toml:"admin"`
}

// Web is what browsers see.
type Web struct {
	// Dir is a directory whose files replace pages of the relay ("index.html",
	// "info.html", "privacy.html", "main.css") or stand beside them; they are
	// served as they change. The folder "www" of a cmdeploy installation is one.
	// Empty shows the relay's own pages. A relative path starts at the directory
	// of this file. Default "".
	Dir string `toml:"dir"`
}

// DNS says who is asked for names: of other mail servers, and of the keys that
// sign their mail.
type DNS struct {
	// Resolver is the recursive resolver to ask, "address:port"; empty asks
	// those of /etc/resolv.conf. Default "".
	Resolver string `toml:"resolver"`
	// Trusted says that the resolver validates DNSSEC and that nobody on the way
	// can change what it says, as one on this machine. Default false.
	Trusted bool `toml:"trusted"`
	// Addresses are the relay's public IP addresses, which "barid dns" puts into
	// the zone; empty are those that this machine has. Behind NAT, name them.
	// Default [].
	Addresses []string `toml:"addresses"`
}

// DKIM adopts a key whose public half is in the DNS already. Other keys are
// made in data_dir at the first start.
type DKIM struct {
	// Selector is the name of the adopted key, such as "opendkim"; empty adopts
	// none. Default "".
	Selector string `toml:"selector"`
	// Key is the PEM file of the adopted key; it signs in the place of the one
	// of the same kind that we made. A relative path starts at the directory of
	// this file. Default "".
	Key string `toml:"key"`
}

// Values of Federation.AddressLiterals.
const (
	LiteralsChecked = "checked"
	LiteralsAny     = "any"
	LiteralsOff     = "off"
)

// Federation says whose mail is taken without a public authority vouching for
// them.
type Federation struct {
	// AddressLiterals is what becomes of mail whose author is at an IP address
	// (name@[192.0.2.1]), which nobody can sign: "checked" (it must come from that
	// address), "any" (anybody can be anybody there) or "off" (it is refused).
	// Default "checked".
	AddressLiterals string `toml:"address_literals"`
	// UnderscoreDomains takes mail whose author is at a domain that begins with
	// "_", which is signed, and whose servers have no public certificate.
	// Default true.
	UnderscoreDomains bool `toml:"underscore_domains"`
	// Outgoing is "on" (mail leaves by HTTPS or SMTP, whichever works and is
	// quicker), "https" (port 25 of others cannot be reached from here: only
	// relays that take HTTPS get mail, others' mail fails at once) or "off"
	// (nothing leaves). Default "on".
	Outgoing string `toml:"outgoing"`
	// CleartextDomains are domains that may get mail without TLS, because they
	// cannot do better. Default ["nauta.cu"].
	CleartextDomains []string `toml:"cleartext_domains"`
	// SourceAddresses are the local addresses that mail leaves from, at most one
	// IPv4 and one IPv6; empty leaves it to the system. Default [].
	SourceAddresses []string `toml:"source_addresses"`
	// SMTPPort is the port of other servers, for laboratories. Default 25.
	SMTPPort int `toml:"smtp_port"`
	// HTTPSPort is the HTTPS port of other relays, for laboratories. Default 443.
	HTTPSPort int `toml:"https_port"`
	// FirstRetry is the pause after a first failure; it doubles with each, up to
	// federation.max_retry. Default "1m".
	FirstRetry Duration `toml:"first_retry"`
	// MaxRetry is the longest pause between two tries. Default "1h".
	MaxRetry Duration `toml:"max_retry"`
	// Lifetime is how long mail is tried before its sender is told that it
	// failed. Default "48h".
	Lifetime Duration `toml:"lifetime"`
	// WarnAfter is when the sender of mail that is still being tried is told of
	// the delay; "0s" is never. Default "4h".
	WarnAfter Duration `toml:"warn_after"`
	// MaxAttempts is how many messages may be on their way at once, 10 to 2000.
	// Default 200.
	MaxAttempts int `toml:"max_attempts"`
	// MaxQueued is how many messages may wait, one counted for each destination,
	// 1000 to 1000000; one account has at most a tenth. Default 250000.
	MaxQueued int `toml:"max_queued"`
}
