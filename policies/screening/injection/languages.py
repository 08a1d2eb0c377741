"""Words of other languages for the concepts, spelt as in `english`, accents or none."""
# ruff: noqa: RUF001 (letters that look like Latin ones are what these languages are written with)

from __future__ import annotations

from policies.screening.injection.concepts import Concept

WORDS: dict[Concept, str] = {
    Concept.DROP: """
        ignorier++e+en+t ignoriere missacht++e+en vergiss vergesst umgeh++e+en deaktivier++e
        ignorez oublie oubliez neglige contourne desactive ne_tiens_pas_compte
        ignoren olvida olvidate olvide desobedece caso_omiso omite
        ignora dimentica ignorate trascura disattiva
        esqueca desconsidere desative
        negeer vergeet omzeil
        zignoruj ignoruj zapomnij pomin
        ignorera glom bortse
        yok_say gormezden_gel unut
        игнорируй++те игнорируйте проигнорируй++те забудь++те отбрось++те обойди++те
        ігноруй++те забудь++те
        تجاهل انس انسى
        bo_qua quen
        abaikan lupakan""",
    Concept.NOT: """
        keine kein ohne nie niemals nicht
        sans aucune aucun jamais plus pas ne
        sin ninguna ninguno ningun nunca no
        senza nessuna nessun mai non
        sem nenhuma nenhum nunca nao
        zonder geen nooit
        bez nigdy zadnych nie
        utan inga aldrig
        olmadan asla hicbir
        без никаких никогда не нет
        без ніколи
        بدون لا دون
        khong tanpa tidak""",
    Concept.PRIOR: """
        vorherig+e+en+er+es vorig+e+en bisherig+e+en bisher obig+e+en fruher++e+en
        ursprunglich++e+en
        precedente++s precedentes anterieur++s+e+es initial++e+es initiales debut
        anterior++es previas previos iniciales principio antes
        precedenti iniziali
        anteriores previas iniciais
        vorige eerdere bovenstaande
        poprzedni++e+ch wczesniejsze wczesniejszych
        tidigare foregaende
        onceki yukaridaki
        предыдущ+ие+их+ую прежн+ие+их выше прошлые
        попередн+і+іх початков+і+их
        السابقة سابقة
        truoc_do truoc
        sebelumnya di_atas""",
    Concept.ALL: """
        alle alles toutes tous tout todas todos todo tutte tutti tutto alla allt wszystkie wszystko
        tum все всі всё جميع كل tat_ca semua""",
    Concept.YOUR: """
        deine deinen deiner deines dir du
        tes ton ta vos t'ont te
        tus tu te recibiste dieron
        tue tuo tuoi
        suas seu seus tuas sua
        je jouw jullie
        swoj swoje twoje ci
        din dina
        твои свои свой твой тебе твоих
        свій твої
        الخاص لك
        cua_ban kamu anda""",
    Concept.RULES: """
        anweisung++en regeln vorgaben richtlinie++n sicherheitsrichtlinien systemanweisung++en
        consigne++s instructions regles directives
        instruccion++es reglas normas ordenes directrices
        istruzioni regole direttive
        instrucoes regras diretrizes
        instructies regels
        instrukcj+e+i+a zasad++y polecenia
        instruktioner regler
        talimatlar++i kurallar++i+ini
        инструкци+и+ю+й правил++а указани+я+й
        інструкції правила вказівки
        التعليمات القواعد
        huong_dan quy_tac
        instruksi aturan""",
    Concept.LIMITS: """
        sicherheitsvorgaben sicherheitsregeln sicherheitsfilter inhaltsfilter vorschriften
        einschrankung++en beschrankung++en filter regeln sicherheitsrichtlinien grenzen zensur
        restriction++s filtre++s limite++s regle++s censure
        restriccion++es filtros censura norma++s limites
        restrizioni filtri limitazioni limiti
        restricoes filtros limites
        beperking++en filters
        ograniczen filtrow
        begransningar
        kisitlama sinir++lama+siz
        ограничени+я+й+е фильтр++ы+ов цензур++а+ы правил++а
        обмежень фільтрів
        قيود القيود
        gioi_han batasan""",
    Concept.ASKS_WHAT: """
        was_ist was_sind wie_lautet wie_lauten quel_est quelle_est quels_sont quelles_sont cual_es
        cuales_son qual_e quais_sao quali_sono wat_is wat_zijn jaki_jest jakie_sa vad_ar
        какой_у каков какие_у який_у""",
    Concept.TOLD: """
        gesagt dijeron dicho dit detto dito disseram сказал++и говорил++и gezegd powiedziano""",
    Concept.ANSWER: """
        antworte antwortet sprich reponds repondez parle responde contesta habla rispondi parla
        responda fale antwoord odpowiadaj svara yanitla отвечай++те відповідай jawab""",
    Concept.ONLY_ME: "nur_meine solo_mis seulement_mes solo_le_mie",
    Concept.SYSTEM: """
        systeme sistema systemet system systemowy sistem системн+ый+ого+ые системний النظام hedef
        developpeurs entwickler""",
    Concept.PROMPT: """
        prompt prompts systemprompt systeemprompt systemprompten istemini промпт++а+ы prompta
        موجه""",
    Concept.SECRET: """
        versteckt++e+en geheim++e+en caches cachees secretes ocultas ocultos nascoste
        segrete
        verborgen ukryte dolda gizli скрыт+ые+ый+ых приховані المخفية""",
    Concept.VERBATIM: """
        wort_fur_wort wortlich vollstandig unverandert mot_pour_mot palabra_por_palabra
        parola_per_parola palavra_por_palavra exatamente woord_voor_woord slowo_w_slowo дословно
        exactement integralement literalmente""",
    Concept.SHOW: """
        dis-moi dimmi diga_me diga-me powiedz wypisz
        wiederhole zeig zeige gib verrate nenne drucke
        affiche affichez montre montrez revele repete donne
        muestra muestrame revela repite imprime dime
        mostra mostrami rivela ripeti stampa
        mostre revele repita imprima exiba
        toon laat_zien herhaal
        pokaz powtorz ujawnij wyswietl
        visa avsloja upprepa
        goster acikla tekrarla
        покажи++те выведи++те повтори++те раскрой++те напечатай++те
        покажи виведи
        اعرض اظهر أظهر
        hien_thi tiet_lo
        tampilkan tunjukkan ungkapkan""",
    Concept.BE: """
        du_bist_jetzt tu_so als_warst ab_jetzt spiel_die_rolle
        tu_es_maintenant vous_etes_maintenant fais_semblant agis_comme desormais
        ahora_eres actua_como finge desde_ahora a_partir_de_ahora
        fingi comportati_come sei_ora d'ora_in_poi da_adesso
        voce_agora aja_como finja a_partir_de_agora
        je_bent_nu doe_alsof
        jestes_teraz udawaj
        du_ar_nu lat_som
        artik_sen
        теперь_ты ты_теперь притворись представь
        тепер_ти ти_тепер
        أنت_الآن انت_الان
""",
    Concept.AI: """
        ki ia künstliche_intelligenz sztuczna sztuczną inteligencja inteligencją ии шi ші
        الذكاء yapay""",
    Concept.REFUSE: """
        lehnt lehnst verweiger++e+t+n ablehn+en+t refuses refuse refuserez niegas
        niega rehusas rifiuta rifiuti
        recusa recuse weigert odmawia odmawiaj отказыва+ет+йся+ешь відмовля+є+йся ترفض""",
    Concept.ABOUT: """
        ubersetze bedeutet traduis traduire traduce traducir traduci traduza vertaal przetlumacz
        oversatt переведи""",
    Concept.DAN: "darf_alles peut_tout_faire puede_hacer_cualquier_cosa cualquier_cosa",
}

UNSPACED: dict[Concept, str] = {
    Concept.FOLLOW: "遵守 服从 遵循 従 따르",
    Concept.DROP: "忽略 无视 無視 忘记 忘記 忘れ 절대_무시 무시 잊어 忽视 绕过 解除 अनदेखा भूल",
    Concept.PRIOR: "之前 先前 以上 以前 前面 これまで 이전 위의 上述 此前 上面 पिछले पिछली",
    Concept.ALL: "任何 所有 すべて 全て 모든 全部 सभी",
    Concept.YOUR: "你的 您的 あなたに あなたの 너의 당신의 与えられた 给你 अपना आपके",
    Concept.RULES: "指令 指示 规则 規則 ルール 지시 규칙 命令 设定 निर्देशों नियम",
    Concept.LIMITS: "限制 制限 제한 过滤 审查 フィルター 필터 规则 検閲 प्रतिबंध",
    Concept.NOT: "不要 没有 沒有 不受 なし ない 何の 없이 없는 不会 아무런 任何 बिना",
    Concept.SYSTEM: "系统 系統 システム 시스템 सिस्टम",
    Concept.PROMPT: "提示词 提示 プロンプト 프롬프트 提示詞 प्रॉम्प्ट",
    Concept.SECRET: "隐藏 隠され 숨겨진 隱藏",
    Concept.VERBATIM: "逐字 一字一句 그대로 そのまま 原样",
    Concept.SHOW: """
        输出 显示 顯示 重复 重複 表示し 出力し 출력 보여 打印 告诉我 教えて 見せて दिखाएं दिखाओ""",
    Concept.BE: "你现在是 從現在 从现在开始 今から あなたは今 너는_이제 이제부터 扮演 अब_आप",
    Concept.AI: "人工智能 人工智慧 AI 模型",
    Concept.REFUSE: "拒绝 拒絕 拒否 거절",
    Concept.ABOUT: "翻译成 翻译 翻譯 英訳 訳して 번역 的意思",
}
"""Of languages without spaces between words, or with endings joined to them: found anywhere."""
