//! The numbers that name messages on the wire.
//!
//! Requests and responses share one number space. A default netperf 2.7.0 knows about thirty of these; the
//! others were given to families that are gone or were never built by default, and a server answers them,
//! as any unknown number, with [`crate::errno::UNKNOWN_REQUEST`]. Where two families were given the same
//! number, the name tells both.

macro_rules! codes {
    ($( $(#[$about:meta])* $name:ident { $( $code:ident = $number:literal, $label:literal; )+ } )+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( #[doc = concat!("`", $label, "`, ", stringify!($number), ".")] $code, )+
            /// Any other number.
            Unknown(i32),
        }

        impl $name {
            /// Every named code with its name in netperf's tables, by number.
            pub const ALL: &'static [(Self, &'static str)] = &[$( (Self::$code, $label), )+];

            /// The code with this number.
            pub const fn from_wire(number: i32) -> Self {
                match number {
                    $( $number => Self::$code, )+
                    unknown => Self::Unknown(unknown),
                }
            }

            /// The number on the wire.
            pub const fn to_wire(self) -> i32 {
                match self {
                    $( Self::$code => $number, )+
                    Self::Unknown(number) => number,
                }
            }
        }
    )+};
}

codes! {
    /// What a client asks for. Names begin with `DO_` in netperf's tables where a test is meant.
    RequestCode {
        DebugOn = 1, "DEBUG_ON";
        DebugOff = 2, "DEBUG_OFF";
        NodeIdentify = 4, "NODE_IDENTIFY";
        CpuCalibrate = 5, "CPU_CALIBRATE";
        Passphrase = 6, "PASSPHRASE";
        TcpStream = 10, "DO_TCP_STREAM";
        TcpRr = 13, "DO_TCP_RR";
        UdpStream = 16, "DO_UDP_STREAM";
        UdpRr = 19, "DO_UDP_RR";
        DlpiCoStream = 22, "DO_DLPI_CO_STREAM";
        DlpiCoRr = 25, "DO_DLPI_CO_RR";
        DlpiClStream = 28, "DO_DLPI_CL_STREAM";
        DlpiClRr = 31, "DO_DLPI_CL_RR";
        TcpCrr = 34, "DO_TCP_CRR";
        UnixStreamStream = 37, "DO_UNIX_STREAM_STREAM";
        UnixStreamRr = 40, "DO_UNIX_STREAM_RR";
        UnixDatagramStream = 43, "DO_UNIX_DATAGRAM_STREAM";
        UnixDatagramRr = 46, "DO_UNIX_DATAGRAM_RR";
        ForeStream = 49, "DO_FORE_STREAM";
        ForeOrHippiRr = 52, "DO_FORE_OR_HIPPI_RR";
        HippiOrXtiTcpStream = 55, "DO_HIPPI_OR_XTI_TCP_STREAM";
        XtiTcpRr = 58, "DO_XTI_TCP_RR";
        XtiUdpStream = 61, "DO_XTI_UDP_STREAM";
        XtiUdpRr = 64, "DO_XTI_UDP_RR";
        XtiTcpCrr = 67, "DO_XTI_TCP_CRR";
        TcpTrr = 70, "DO_TCP_TRR";
        TcpNbrr = 73, "DO_TCP_NBRR";
        Ipv6TcpStream = 76, "DO_IPV6_TCP_STREAM";
        Ipv6TcpRr = 79, "DO_IPV6_TCP_RR";
        Ipv6UdpStream = 82, "DO_IPV6_UDP_STREAM";
        Ipv6UdpRr = 85, "DO_IPV6_UDP_RR";
        Ipv6TcpCrr = 88, "DO_IPV6_TCP_CRR";
        Ipv6TcpTrr = 91, "DO_IPV6_TCP_TRR";
        TcpMaerts = 94, "DO_TCP_MAERTS";
        Omni = 97, "DO_OMNI";
        LwpStreamStream = 100, "DO_LWP_STREAM_STREAM";
        LwpStreamRr = 130, "DO_LWP_STREAM_RR";
        LwpDatagramStream = 160, "DO_LWP_DATAGRAM_STREAM";
        LwpDatagramRr = 190, "DO_LWP_DATAGRAM_RR";
        TcpCc = 300, "DO_TCP_CC";
        DnsRr = 400, "DO_DNS_RR";
        SctpStream = 500, "DO_SCTP_STREAM";
        SctpStreamMany = 510, "DO_SCTP_STREAM_MANY";
        SctpRr = 520, "DO_SCTP_RR";
        SctpRrMany = 530, "DO_SCTP_RR_MANY";
        SdpStream = 540, "DO_SDP_STREAM";
        SdpRr = 543, "DO_SDP_RR";
        SdpMaerts = 546, "DO_SDP_MAERTS";
        SdpCrr = 549, "DO_SDP_CRR";
        SdpCc = 552, "DO_SDP_CC";
        Sysinfo = 600, "DO_SYSINFO";
        Native = 0x5250, "NATIVE";
    }

    /// What a server answers. Only a hint: in results, and in answers to unknown requests, netperf's
    /// servers send a left-over of the frame before, and no client looks.
    ResponseCode {
        DebugOk = 3, "DEBUG_OK";
        CpuCalibrate = 5, "CPU_CALIBRATE";
        TcpStreamResponse = 11, "TCP_STREAM_RESPONSE";
        TcpStreamResults = 12, "TCP_STREAM_RESULTS";
        TcpRrResponse = 14, "TCP_RR_RESPONSE";
        TcpRrResults = 15, "TCP_RR_RESULTS";
        UdpStreamResponse = 17, "UDP_STREAM_RESPONSE";
        UdpStreamResults = 18, "UDP_STREAM_RESULTS";
        UdpRrResponse = 20, "UDP_RR_RESPONSE";
        UdpRrResults = 21, "UDP_RR_RESULTS";
        DlpiCoStreamResponse = 23, "DLPI_CO_STREAM_RESPONSE";
        DlpiCoStreamResults = 24, "DLPI_CO_STREAM_RESULTS";
        DlpiCoRrResponse = 26, "DLPI_CO_RR_RESPONSE";
        DlpiCoRrResults = 27, "DLPI_CO_RR_RESULTS";
        DlpiClStreamResponse = 29, "DLPI_CL_STREAM_RESPONSE";
        DlpiClStreamResults = 30, "DLPI_CL_STREAM_RESULTS";
        DlpiClRrResponse = 32, "DLPI_CL_RR_RESPONSE";
        DlpiClRrResults = 33, "DLPI_CL_RR_RESULTS";
        TcpCrrResponse = 35, "TCP_CRR_RESPONSE";
        TcpCrrResults = 36, "TCP_CRR_RESULTS";
        UnixStreamStreamResponse = 38, "UNIX_STREAM_STREAM_RESPONSE";
        UnixStreamStreamResults = 39, "UNIX_STREAM_STREAM_RESULTS";
        UnixStreamRrResponse = 41, "UNIX_STREAM_RR_RESPONSE";
        UnixStreamRrResults = 42, "UNIX_STREAM_RR_RESULTS";
        UnixDatagramStreamResponse = 44, "UNIX_DATAGRAM_STREAM_RESPONSE";
        UnixDatagramStreamResults = 45, "UNIX_DATAGRAM_STREAM_RESULTS";
        UnixDatagramRrResponse = 47, "UNIX_DATAGRAM_RR_RESPONSE";
        UnixDatagramRrResults = 48, "UNIX_DATAGRAM_RR_RESULTS";
        ForeStreamResponse = 50, "FORE_STREAM_RESPONSE";
        ForeStreamResults = 51, "FORE_STREAM_RESULTS";
        ForeOrHippiRrResponse = 53, "FORE_OR_HIPPI_RR_RESPONSE";
        ForeOrHippiRrResults = 54, "FORE_OR_HIPPI_RR_RESULTS";
        HippiOrXtiTcpStreamResponse = 56, "HIPPI_OR_XTI_TCP_STREAM_RESPONSE";
        HippiOrXtiTcpStreamResults = 57, "HIPPI_OR_XTI_TCP_STREAM_RESULTS";
        XtiTcpRrResponse = 59, "XTI_TCP_RR_RESPONSE";
        XtiTcpRrResults = 60, "XTI_TCP_RR_RESULTS";
        XtiUdpStreamResponse = 62, "XTI_UDP_STREAM_RESPONSE";
        XtiUdpStreamResults = 63, "XTI_UDP_STREAM_RESULTS";
        XtiUdpRrResponse = 65, "XTI_UDP_RR_RESPONSE";
        XtiUdpRrResults = 66, "XTI_UDP_RR_RESULTS";
        XtiTcpCrrResponse = 68, "XTI_TCP_CRR_RESPONSE";
        XtiTcpCrrResults = 69, "XTI_TCP_CRR_RESULTS";
        TcpTrrResponse = 71, "TCP_TRR_RESPONSE";
        TcpTrrResults = 72, "TCP_TRR_RESULTS";
        TcpNbrrResponse = 74, "TCP_NBRR_RESPONSE";
        TcpNbrrResults = 75, "TCP_NBRR_RESULTS";
        Ipv6TcpStreamResponse = 77, "IPV6_TCP_STREAM_RESPONSE";
        Ipv6TcpStreamResults = 78, "IPV6_TCP_STREAM_RESULTS";
        Ipv6TcpRrResponse = 80, "IPV6_TCP_RR_RESPONSE";
        Ipv6TcpRrResults = 81, "IPV6_TCP_RR_RESULTS";
        Ipv6UdpStreamResponse = 83, "IPV6_UDP_STREAM_RESPONSE";
        Ipv6UdpStreamResults = 84, "IPV6_UDP_STREAM_RESULTS";
        Ipv6UdpRrResponse = 86, "IPV6_UDP_RR_RESPONSE";
        Ipv6UdpRrResults = 87, "IPV6_UDP_RR_RESULTS";
        Ipv6TcpCrrResponse = 89, "IPV6_TCP_CRR_RESPONSE";
        Ipv6TcpCrrResults = 90, "IPV6_TCP_CRR_RESULTS";
        Ipv6TcpTrrResponse = 92, "IPV6_TCP_TRR_RESPONSE";
        Ipv6TcpTrrResults = 93, "IPV6_TCP_TRR_RESULTS";
        TcpMaertsResponse = 95, "TCP_MAERTS_RESPONSE";
        TcpMaertsResults = 96, "TCP_MAERTS_RESULTS";
        OmniResponse = 98, "OMNI_RESPONSE";
        OmniResults = 99, "OMNI_RESULTS";
        LwpStreamStreamResponse = 110, "LWP_STREAM_STREAM_RESPONSE";
        LwpStreamStreamResults = 120, "LWP_STREAM_STREAM_RESULTS";
        LwpStreamRrResponse = 140, "LWP_STREAM_RR_RESPONSE";
        LwpStreamRrResults = 150, "LWP_STREAM_RR_RESULTS";
        LwpDatagramStreamResponse = 170, "LWP_DATAGRAM_STREAM_RESPONSE";
        LwpDatagramStreamResults = 180, "LWP_DATAGRAM_STREAM_RESULTS";
        LwpDatagramRrResponse = 200, "LWP_DATAGRAM_RR_RESPONSE";
        LwpDatagramRrResults = 210, "LWP_DATAGRAM_RR_RESULTS";
        TcpCcResponse = 301, "TCP_CC_RESPONSE";
        TcpCcResults = 302, "TCP_CC_RESULTS";
        DnsRrResponse = 401, "DNS_RR_RESPONSE";
        DnsRrResults = 402, "DNS_RR_RESULTS";
        SctpStreamResponse = 501, "SCTP_STREAM_RESPONSE";
        SctpStreamOrRrResults = 502, "SCTP_STREAM_OR_RR_RESULTS";
        SctpStreamManyResponse = 511, "SCTP_STREAM_MANY_RESPONSE";
        SctpStreamManyResults = 512, "SCTP_STREAM_MANY_RESULTS";
        SctpRrResponse = 521, "SCTP_RR_RESPONSE";
        SctpRrManyResponse = 531, "SCTP_RR_MANY_RESPONSE";
        SctpRrManyResults = 532, "SCTP_RR_MANY_RESULTS";
        SdpStreamResponse = 541, "SDP_STREAM_RESPONSE";
        SdpStreamResults = 542, "SDP_STREAM_RESULTS";
        SdpRrResponse = 544, "SDP_RR_RESPONSE";
        SdpRrResults = 545, "SDP_RR_RESULTS";
        SdpMaertsResponse = 547, "SDP_MAERTS_RESPONSE";
        SdpMaertsResults = 548, "SDP_MAERTS_RESULTS";
        SdpCrrResponse = 550, "SDP_CRR_RESPONSE";
        SdpCrrResults = 551, "SDP_CRR_RESULTS";
        SdpCcResponse = 553, "SDP_CC_RESPONSE";
        SdpCcResults = 554, "SDP_CC_RESULTS";
        SysinfoResponse = 601, "SYSINFO_RESPONSE";
        NativeResponse = 0x5251, "NATIVE_RESPONSE";
    }
}
