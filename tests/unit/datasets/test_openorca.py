from __future__ import annotations

import base64
import hashlib
import io
import pickle
import pickletools
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness_llm.core import GenerationLimits
from harness_llm.datasets import openorca
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.pandas_pickle import read_columns
from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness_llm.datasets import SampleTable

# DataFrames of six rows with the columns of the official file (id, system_prompt, question, output, origin,
# input, tok_input, tok_output, tok_input_length, tok_output_length), saved by real versions of pandas:
# tok_input of row n is [1, 100 + n, 5, 29871], its output "Answer number n."; "arrays" holds tok_input as
# numpy arrays.
_SAVED = {
    "pandas 1.5, protocol 2": (
        r"c-obeYm?hF6o#GbCfzj@S}2q|E!UKb*()qi=#@fiHU)Dtm!QhFHa2U^el2;Hogp*uq1o=Q;U|J5$MGx^J~W!K^c)=>>72aMpWU#a"
        r"Jfgx0^O8AxCC!+9lS+Eaj9^{*3!MqN1Ap1FERu~&ES*@9aLGzeQ{iNk(=jWBeLc;?{oR^uEH~~XO#;#S+oa+}67Hvr1bTsuUdXGg"
        r"IIQDlRVou&mh{jjB@1&dWLbsMM!)v5RZKIBQ?7L%D<KK<h=sytTn}ul`W<!R0Jh&(eM)7**YU^{k9s(LgvUHQK5#qkirb&!%q(Oi"
        r"4-2*Otlw2D?(X1;;|E80(!;rdyJVvMfv1MU;hlff&wSh~5>E%mBb*<YUG`GSoi#ku!aAO9VFS;#u!-ke*uo1fY~w|<o4`x)ycrAd"
        r"ay)PT8D+V~#Q`fXsPhM^TXS$>fqC7*#RcXK2d^wJZ#sB&fqBcpYYWWV4qi9f&_~A`@w}M>CwMcSw-E-q<dNIk{admTE@@&7y`^cd"
        r"p|>@S8+u1m+|aw4l7<{jr_>+0>RJllYq6tnt;Mdw^%j>DZnU_paI?i8V-j0INJvm6N{O5hTck;-<gx8q%B6FJ_dR^zc8{>*;lsEW"
        r"_hX~Pk76aSk3C%0!Ma*rpTxDIk{x`i6?MhK)kaa5aqXm{EQ#yEalGo^Q?t6R)<g8YhwO19RyX3NhtDK#1@X4Z%hs8F?%@la*=-MZ"
        r"rf^62a`2x^AF<z=Z~`irO*lIsx3$H_?*F^ZJcbk8tsj#}y)yW!Dcje&Y@Ua2blL3t_%=SL?$vjLx^fY|_fP99aVR9qNKxilA@PI1"
        r"qLZkYkV($rn=6!8vZy3}tf5TC3CB;q&N$(E;%9$Vjb*-1YW~HyXFOXuGAf@tkd*PUjPa{~_Jm(!CrT*y0+SI}PbTQFnj-KJ#*2$l"
        r"Qa)z3r@yn3L=&(<Oo!%>Lef%V&$UcMA@c%bw?6|`Aa*+{e&XRbHpRY&w0@Y?%Z1Ejrps!cad5*VW0IO$=OYwm4=QCTfC)-dB%-eF"
        r"SU^l5{quS{P4fdmqN-4Wr;?GB1}qh*9*8P%{sq21%8~"
    ),
    "pandas 1.5, arrays": (
        r"c-oy+-EY${5O2Ds-8x_!2$(bp?FCdGi1vy0Fo};Lq!Cdh-Y4U<ZXGRgvczE&F$o^J58<~R`#1Qn_&4C3CR>~CVKkO<=kuL?zWd$z"
        r"yZP%+wUmBpA*7;BW2+TJ%<4qcXP{=@P)XmW{5d@R0Y}hK72<azP>+VyT_IT{s25v46|~Eu7}TxTUeMZqKbWJrdXQNV&voJ}6Hs#`"
        r"5uw}K_ZV@sjaI%d5<lz>cJ~ucx-^Pt4|gRIYXu^fQPPrH(M%OV)o|}r<s9r%A9f4}PT(UnY{RbE)nnju%52MCsBfamAGYA^bg(|9"
        r"jBn6vHsAflFa6msBsgb#c-LyjqrzH&j9JZ@wVYYcnT?#;1ZBj)ALm0E2f&}?L(RVu@ga+r(Q60EiUmc{>bPiaT(mwe+87sYqNt+X"
        r"0{$!?%5Z^O`Pj=MG;Pn=B{n=WMrP%a+0@9aGBPt6!|<uQLkUEdMQ#h!Ea^mn?<Ad03W>(WR%!GzGFr~)R7NWqH8WbvDDXv9c1M!A"
        r"T}WmLy|HV3Ov?^PRI<xjmCy36#>J<?_BW;Ge^TJvb~#1iOYMT1b`lpcEfD->?71xsN(^4zHco~;yu%kXmifIL$ws=zlE$WXf4LB~"
        r"cH!9H^6L0XKRf(7LpG^lXHvuNq=tM_L-!_z8oJ!JtBB>HRGffr28*K|ug$)&*m7u$eX>pjJ0!bWhMDA2nK_?!%r<sW7|&+CpXCxE"
        r"+y-?!?!}V%B*YR4C4%H2VX<@rfvqJ-WSB_JL~hqbiRp?|Fe8I~lJRxT=bH1E3&dlhD><lztMy!#mTE=l2H#AMb>u#)rR(l_S;F;Q"
        r"A)jvyU5|g&(OxMOY_X6_h3Hp?Dx-Rtwx0thnEv5IgY6n`sH2y^N5p56rs3Sf7*Hwkr8&Z|5NvYYlzm7&FF1@zI|;F{sAR;W4#Q{W"
        r"G)^4rAHy2{dH"
    ),
    "pandas 2.3, protocol 4": (
        r"c-oazOK;RL5Z-K)K9)yYfuINpaRHSBQJ)eA1cD+Yh`LA>;#L`F<4vqhoHTY+R-zIdD6QmMhu^_Zgt51wNtXk}lKp+-vE%VK<1g-y"
        r"n_kC$dbyw?qS7DaCG&?R%^2u~S5(p07N5bRuW$sb+9g?Bg1*;u=R&bk&{X;v6*Ok01by{onh!?16OPOEt@9Nm<)OS-0(y~DqTqv3"
        r"%1CI|SZ7gX#n>ly`>aY8r)5dUxGgE!AQw`V)j%0f&w7HM!_BSB83dhgu;YaA9rj=~aDw?@_85{y?L}%_m{4^0-4i%Hnas~<=QH&C"
        r"{kOmHvt969L3p~4!Ojj-D*QD#2kSN1sKI6pwra2q+L4evsGD{UAbD6fz4SuJLss6$Q-?UL`Ec2^K5g2VHf>Iuwx&(nXmZW5AbDIj"
        r"?Qlr^y6xK=iUM!<r(zSrnq=4{ag!uX!kc6cZ+s!>w3yRk-4>f^F}KA$#!w7BA66WbKw!FfGUWqiWkwIjh!}KDpIk|<C(B0s<VG!h"
        r"*Gj*lySyd%(@TPPjNm&T-AOHU{&n>Ja|HZN@(fSiYo7ZUOscK43o2rtnDj#`u?%}eutW03*f8wmz4mHs3o^nYh3U|HNbcG!?(zuq"
        r"H93}wWuz$ctWcom4=N@V&jluKUa6u|29!MJXz{qPh6R<6$T{vATzfA4nII_>u}VNMU(DAwE1fIM`_ZqCjYJ>xoxjCdQW2X#_srM`"
        r"E*bSvZ$(RmYHL@jyntZV0EWP^dot7EvxK#c2R4^czg{F`irU-R$B?K}_%0n`lmsgxw(vGh)BI49s46h2sA43gA;U-ML{_2y8*6OF"
        r"wE"
    ),
    "pandas 2.3, protocol 5": (
        r"c-oazU27CE6y4eG^kb{GrJxl-d{OFyLqEX>QM4lH&=vY1zLc2R$?k;CWTr`mx?n*ctS#iNSO11TQE##xJJa>06PTQHa}#osbMw{z"
        r"x$U>yXO;>oVyc3EE?F>;G-F`qUQ<oqID8I|zriuAnhwc^63qR2Iv1KrK~oiERL~)l3e1gHY2H8B9dn#+ZePqGDUa0U6fg^<6b0`e"
        r"q>My%j!PD0R*VATme0ymb1Eer;j%=selC=jWnbG&-(`ZC!Npz5IfSk6u;WGW1NLAw^upP2`UH{%<HvebSShCc{wbWDj>o5r_XT>r"
        r"-n&2exnKA~Lv*%}Vy6cw6~P)@fb|M&RA93LTNT&_<0(iUR?T>akUXlIS$rwf5t9#a*AaGW0bC8OPlh%oLz|PKt;x_fhB|gzkUXiH"
        r"@i-(w)%M*9#i76ZTeC4?buy@vVVxv(!s}!PPkb(HHJI06?FO4_uug;djNxUN*{I}b0)ck%Rm%I!T{C8Q_7cOk{U`Hgxo#W8O!7XM"
        r"c`}fB7L|j6bK>f+Ph-!wI@j#|Yxa<=m^N=%?b#KpwNPEywgxrc4rnXmIm+tRg`I%);!3mPV)mJ-AfgKEv`Yj#B5!RB^(7ySUtw3V"
        r"F;+1ow~{4W7|C)~7F{IwoXy)j26I!5lx7(z@T>|AX7;dTO7mQxv-46HrM5uwA;*Z%g$vB-{D55GuEka6;=cisGBMN%n5E0{D(3FC"
        r"BkTjyD^INWkLK?GbV@3QR_LDXYvPiuhlbEpYP5stD4iD&PFuhbcy3K*fB0@;@#BW=VN}l>$(W|@boNma)fykJV^m47WQGpjp=p{Q"
        r"DH4|jx{hi_QW`OQwN6zT1%Cl2X44h"
    ),
    "pandas 2.3, arrays": (
        r"c-oy+-D?yv5Wl_NUfZkMmO?EE(ii1?aOo!~C{ineE}r0fiP^i{W$Au(lcgTCQiawQ^476`hW?2<$?dkccRtihAeouWgqhz=CMWjK"
        r"U-gO^YB8ZvhYF`1r_AZ5G-RM=-%v^48u}8Re1l_Xsu~G<DX53T>V70y8qq*FA&qE{r2^EQ*FoIg|1jXuys4IR6B78IxUm5>PqHZS"
        r"+xr0{o;E^lwH#$((szitKg<H@(=?@hyqBb`9Y;c@SzBsN+h~HC#><V$CAgJS*tI<P0iU4hT5jE~p8=m&c1QLT9gC`dd<GZigYzk6"
        r"9YL$rdjAK9S=?6=yo){bx!w(E<g7tXtQW*aL2MSpRzYlovIOu)#Z=Y-@W;he3p<fGWa%n;?cuiOz^G__T(mJR+8h^cjf=KXRMTz&"
        r"e_Bjs`M{lGG7MGCc$tq7N0<y-1b&+t5D_;^L*!QV%IDP5a8i(Fsow@QN4jYodRezSNc7d`K}l6=|GC@$xdUHORlk(T7bA(RV03O("
        r"r(apSAaxiU?u^?g2gdL5MO`y|si+vsRLlci1A9g=jaIX6g$;97iK~{lsS;N!aW>PSqa&KVy(9d2^J+B@-OBgQ2qeE{0nJOdhWG54"
        r"kpE%GCN=C%YS^39kWXsp-^MUcMIDndlnM#@^{<qhT!(#O!ttoU*4Q8sJ0$P43~QbrDZ8Lelk8yQgz;=PPV-!1-F86T6@4LDND_QM"
        r"i3BxskTD_sIKo~MXEMp8CQ`rWqr~<jBbb%(KFR5ZrVGu5>jM(7s3$q7#hdd&X5M=((mlPEooVF0@)Pu#f7cMM<xowHKv}JnhduIi"
        r"HKg_HTwD%rW_rO71Dh_otsyD?6%sN@4Muwy7?l!#jAM+IV5{mG@;(iM_)w5emS8`kl97OV41bGrk$KKv5YYTh"
    ),
    "pandas 3.1": (
        r"c-qZY&u`Q?6wb^fLucA8KZM#I_$4ie;S#mbN|iujOVJ{T7*^~BBr4aLc;e8E6B0*dq(!?NV5#IA=I`LYV721HpR>{);MwuClc?Hd"
        r"Bo0`LKflB;@%P#9<^5s5d)&2j6YUhU0OwM4Zexyr&hUuHxAMwM`9k)DjYeT6#f5T?J4iC(MvRk;;W&3knBkCQ;Ja`uP6m7TOB>vK"
        r"V#&CmIP&u&A1O|vf~C=5FDA%WPB2^iU?$@%!(*6pYAef<{a<+&v2aV>J6cf(r5NdXQp~4gtR}kf4Jj5;Msf}-G>>5w^o&^K<CLIb"
        r"k|7*NKoh>U5aTQ)DA%u-ujE7NwLQzTc4V&)9-VZI{9-uNM8uq5L@|$;638EOGI{s*re#{&;DW(323HJTFnHOZ{-V0*IeKyX@-W8C"
        r"UDf@X?yu_pn(o(izj5e7c4VLHk!YhpQIpgX^QBU^wGC@NVRVsqe*dTZ=4<8A0fBIkuy`yFz<q!Rlz^s%PtOY{kE4Nd1|b?=<4+|@"
        r"Q}uM7E|${M)AVeQF8#NBiqfGn4TDXCErYf}r>0<4nRc$*G2E$3SLs@X99=)48=A`|tiSo4FnFfh><pS->sv86W$=>0Rf9hn{Keqz"
        r"u?%*%SiVoPORO0A0IP1*UaQ$xYxcF8y<W37+}X8hdG@!`X0nTOwFsVQcD5GDRc%&OY#w*b&dK(i@8rZry3NkOf%Q}vh$YzLbnGJi"
        r"&lnYuLrvCRfHX8n7;q^DT%{{V&xEuE{{WL+J?oX+ZunBYtEU6H{aVt$gcD41T=T)EJa|(+Z;8flvfuCD`wUHY-c2t315js2y9b_g"
        r"|2-$AL8gu2v=L4lblQlfjT7FS*YT{1)u>p_iq)!EcExfCft7-QZ7{1x-~;_z$v{6=MffC|QHA=A8g)xi-`=%r8~=ak%!smF_ng<A"
        r"UN@J(POMbxg@8OKx$EPcNYO=%?4!Ht9&980yqw8c*Bb%UAo43tf46e_A6d0if70Nx!Se=xG}tq^X7IW}&)}0|qvJ^w<l~%^5lXXU"
        r"l=5c<6dX~)l7goNR31?nv53KtCwu5{P(D4pg<`@&PLH0L8($f7I^cxORGHQ<^sRqE#qLAQLNX=g(`Cp6efY0)oN<UJVMA?{LfTLR"
        r"0)vKjCb}}P5rh>K2ul5-t^lD}7!i*3cI-fiV$Pw?d!fn>NO7SaF5@^(_Hz^zDHIQw6BJ{gK#lh%FMRh4K|d#q"
    ),
}


def _unpacked(name: str) -> bytes:
    return zlib.decompress(base64.b85decode(_SAVED[name]))


def _file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "open_orca.pkl"
    path.write_bytes(content)
    return path


def _load(path: Path, *, official: bool = False) -> SampleTable:
    limits = GenerationLimits(min_tokens=2, max_tokens=1024)
    return openorca.OpenOrca(path=path).read(Reading(limits, official=official))


# A frame as pandas lays it out, written with pickle's own opcodes through objects that name pandas' classes.
class _Named:
    """Pickles as a call of `module.name` with arguments, and optionally a state."""

    def __init__(self, name: str, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.call = (_Global(name), arguments, *([] if state is None else [state]))

    def __reduce__(self) -> Any:
        return self.call


class _Global:
    """Pickles as a bare reference to `module name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None: ...


class _Pickler(pickle._Pickler):  # the pickler in Python: its C twin cannot write a bare reference
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Global):
            self.write(b"c" + obj.name.rpartition(".")[0].encode() + b"\n")
            self.write(obj.name.rpartition(".")[2].encode() + b"\n")
            return
        super().save(obj, save_persistent_id)


def _dumped(found: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, 2).dump(found)
    return file.getvalue()


def _array(cells: list[Any], shape: tuple[int, ...]) -> _Named:
    dtype = _Named("numpy.dtype", ("O8", False, True), (3, "|", None, None, None, -1, -1, 63))
    made = _Named("numpy.core.multiarray._reconstruct", (_Global("numpy.ndarray"), (0,), "b"))
    made.call = (*made.call, (1, shape, dtype, False, cells))
    return made


def _frame(columns: dict[str, list[Any]]) -> bytes:
    rows = len(next(iter(columns.values())))
    cells = [cell for column in columns.values() for cell in column]
    block = _Named(
        "pandas._libs.internals._unpickle_block",
        (_array(cells, (len(columns), rows)), slice(0, len(columns), 1), 2),
    )
    names = _Named(
        "pandas.core.indexes.base._new_Index",
        (
            _Global("pandas.core.indexes.base.Index"),
            {"data": _array(list(columns), (len(columns),)), "name": None},
        ),
    )
    manager = _Named("pandas.core.internals.managers.BlockManager", ((block,), [names, None]))
    return _dumped(_Named("pandas.core.frame.DataFrame", (), {"_mgr": manager, "_typ": "dataframe"}))


def _good() -> dict[str, list[Any]]:
    return {"tok_input": [[1, 7, 29871], [1, 29871]], "output": ["a", "b"], "tok_input_length": [3, 2]}


@pytest.mark.parametrize("name", [name for name in _SAVED if name != "pandas 3.1"])
def test_frames_of_real_pandas_read_back(tmp_path: Path, name: str) -> None:
    table = _load(_file(tmp_path, _unpacked(name)))
    assert [table.prompt(row).tolist() for row in range(len(table))] == [
        [1, 100 + row, 5, 29871] for row in range(6)
    ]
    assert table.references == tuple(f"Answer number {row}." for row in range(6))
    assert set(table.max_tokens.tolist()) == {1024}


def test_columns_of_numbers_read_back(tmp_path: Path) -> None:
    path = _file(tmp_path, _unpacked("pandas 2.3, protocol 5"))
    found = read_columns(path, ["tok_output_length", "origin"], ["absent"])
    assert found == {"tok_output_length": [5] * 6, "origin": ["flan"] * 6}


def test_frame_of_pandas_3_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        _load(_file(tmp_path, _unpacked("pandas 3.1")))
    assert "pandas.DataFrame" in caught.value.message
    assert "save it with one of these" in caught.value.remedy


def test_real_pandas_round_trip(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed; recorded frames are read above")
    if int(pandas.__version__.split(".")[0]) > 2:
        pytest.skip("pandas 3 saves another layout")
    path = tmp_path / "real.pkl"
    pandas.DataFrame(_good()).to_pickle(path)
    assert _load(path).references == ("a", "b")


class _Attack:
    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _os_system(marker: str) -> object:
    import os

    return _Attack(os.system, f"touch {marker}")


def _builtin_eval(marker: str) -> object:
    return _Attack(eval, f"open({marker!r}, 'w')")


def _getattr_chain(marker: str) -> object:
    return _Attack(getattr, _Attack(__import__, "os"), "system")


def _numpy_load(marker: str) -> object:
    return _Attack(np.load, marker)


@pytest.mark.parametrize("attack", [_os_system, _builtin_eval, _getattr_chain, _numpy_load])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hostile_pickle_is_refused_and_runs_nothing(
    tmp_path: Path, attack: Callable[[str], object], protocol: int
) -> None:
    marker = tmp_path / "ran"
    content = pickle.dumps(attack(str(marker)), protocol)
    with pytest.raises(DatasetError, match="refused as a data set: it names .*, which no data set needs"):
        _load(_file(tmp_path, content))
    assert not marker.exists()


def test_attack_hidden_in_a_cell_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    columns = _good() | {"output": ["a", _os_system(str(marker))]}
    with pytest.raises(DatasetError, match="it names posix.system"):
        _load(_file(tmp_path, _frame(columns)))
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\ncore.multiarray._reconstruct\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x0e__import__.real\x93.",
        b"\x80\x02\x82\x01.",  # a name by extension number
        b"\x80\x02Vx\nQ.",  # a persistent id
        b"\x80\x05\x97.",  # an out-of-band buffer
    ],
)
def test_odd_ways_to_name_something_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DatasetError):
        _load(_file(tmp_path, content))


def test_a_file_cannot_change_how_the_next_one_is_read(tmp_path: Path) -> None:
    # BUILD with a (None, attributes) state sets attributes, here on the stand-in class itself
    content = b"\x80\x02cpandas._libs.internals\n_unpickle_block\nN}X\x07\x00\x00\x00columnsK\x01s\x86b."
    pickletools.dis(content, out=io.StringIO())  # it is a well-formed pickle
    with pytest.raises(DatasetError):
        _load(_file(tmp_path, content))
    assert len(_load(_file(tmp_path, _frame(_good())))) == 2


@pytest.mark.parametrize("dtype", ["V8", "f8,f8", "(99999999,)f8", "U9", "M8", "", "O"])
def test_arrays_of_anything_but_plain_numbers_are_refused(tmp_path: Path, dtype: str) -> None:
    made = _Named("numpy.core.multiarray._reconstruct", (_Global("numpy.ndarray"), (0,), "b"))
    kind = _Named("numpy.dtype", (dtype, False, True), (3, "<", None, None, None, -1, -1, 0))
    made.call = (*made.call, (1, (1,), kind, False, _Named("_codecs.encode", ("12345678", "latin1"))))
    with pytest.raises(DatasetError):
        _load(_file(tmp_path, _frame(_good() | {"tok_input": [made, made]})))


@pytest.mark.parametrize("length", [0, 1, 40, 300, 900, 1310])
def test_truncated_file_is_an_error(tmp_path: Path, length: int) -> None:
    content = _unpacked("pandas 2.3, protocol 4")
    with pytest.raises(DatasetError, match="not a readable pickle|refused"):
        _load(_file(tmp_path, content[: min(length, len(content) - 1)]))


@pytest.mark.parametrize("found", [[1, 2], {"tok_input": [[1, 29871]]}, None, "text"])
def test_pickle_of_something_else_is_refused(tmp_path: Path, found: object) -> None:
    with pytest.raises(DatasetError, match="not laid out as pandas"):
        _load(_file(tmp_path, pickle.dumps(found)))


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("tok_input", [[1, 29871], [1, 5]], "sample 1 ends with token 5, official prompts end with 29871"),
        ("tok_input", [[1, 29871], [29871, 5]], "sample 1 ends with token 5"),
        ("tok_input", [[1, 29871], []], "sample 1: tok_input is list, expected token ids"),
        ("tok_input", [[1, 29871], None], "sample 1: tok_input is NoneType"),
        ("tok_input", [[1, 29871], "text"], "sample 1: tok_input is str"),
        (
            "tok_input",
            [[1, 29871], [1.5, 29871.0]],
            "sample 1: tok_input holds something that is not a token id",
        ),
        ("tok_input", [[1, 29871], [-1, 29871]], "sample 1: tok_input holds something"),
        ("tok_input", [[1, 29871], [2**40, 29871]], "sample 1: tok_input holds something"),
        ("tok_input", [[1, 29871], [2**70, 29871]], "sample 1: tok_input holds"),
        ("tok_input", [[1, 29871], [[1], [1, 2]]], "sample 1: tok_input holds"),
        ("tok_input", [[1, 29871], [5] * 1024 + [29871]], "sample 1 has 1025 tokens, the limit is 1024"),
        ("tok_input_length", [3, 3], "sample 1 has 2 tokens, tok_input_length is 3"),
        ("output", ["a", ""], "sample 1: output is ''"),
        ("output", ["a", 7], "sample 1: output is 7"),
    ],
)
def test_sample_that_breaks_a_rule_is_named(
    tmp_path: Path, column: str, cells: list[Any], expected: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        _load(_file(tmp_path, _frame(_good() | {column: cells})))
    assert expected in caught.value.message


def test_longest_legal_prompt_is_taken(tmp_path: Path) -> None:
    columns = {"tok_input": [[5] * 1023 + [29871]], "output": ["a"]}
    assert _load(_file(tmp_path, _frame(columns))).prompt_lengths.tolist() == [1024]


def test_lacking_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lacks the column output; found tok_input"):
        _load(_file(tmp_path, _frame({"tok_input": [[1, 29871]]})))


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        _load(_file(tmp_path, _frame({"tok_input": [], "output": []})))


def test_another_file_is_refused_where_it_must_be_the_official_one(tmp_path: Path) -> None:
    path = _file(tmp_path, _frame(_good()))
    with pytest.raises(DatasetError, match=f"the official file's is {openorca.MD5}"):
        _load(path, official=True)
    with pytest.raises(DatasetError, match="md5 is"):  # not "refused": it was not unpickled
        _load(_file(tmp_path, pickle.dumps(_os_system("never"))), official=True)


def test_a_file_that_could_be_taken_for_the_official_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openorca, "SAMPLES", 2)
    assert len(_load(_file(tmp_path, _frame(_good())))) == 2
    assert "but not that file" in caplog.text and openorca.MD5 in caplog.text


def test_a_smaller_file_is_no_reason_to_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The official samples for calibration are one: 1,000 of the 24,576."""
    assert len(_load(_file(tmp_path, _frame(_good())))) == 2
    assert not caplog.records


def test_official_digest_with_another_count_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _frame(_good())
    monkeypatch.setattr(openorca, "MD5", hashlib.md5(content, usedforsecurity=False).hexdigest())
    with pytest.raises(DatasetError, match="found 2 samples, expected 24576"):
        _load(_file(tmp_path, content), official=True)
    monkeypatch.setattr(openorca, "SAMPLES", 2)
    assert len(_load(_file(tmp_path, content), official=True)) == 2


def test_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        _load(tmp_path / "absent.pkl")
    assert "download_llama2_70b.sh" in caught.value.remedy
